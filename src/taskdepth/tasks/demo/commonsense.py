"""Cluster commonsense: what everybody knows about tools, causes, sizes and properties."""

from __future__ import annotations

from itertools import combinations
from random import Random

from taskdepth.tasks.demo.english import a, words
from taskdepth.tasks.demo.lexicon import PEOPLE, SIZES
from taskdepth.tasks.demo.task import Draw, classification, multiple_choice

CLUSTER = "commonsense"

NEEDED = {
    "boil water": "a kettle",
    "catch a fish": "a net",
    "climb to the roof": "a ladder",
    "cross a river": "a boat",
    "cut bread": "a knife",
    "dig a hole": "a spade",
    "dry the plates": "a towel",
    "eat soup": "a spoon",
    "hit a nail": "a hammer",
    "open a locked door": "a key",
    "play football": "a ball",
    "see in the dark": "a lamp",
    "sew a shirt": "a needle",
    "sleep well": "a bed",
    "stay dry in the rain": "an umbrella",
    "sweep the floor": "a broom",
    "take a picture": "a camera",
    "tell the time": "a clock",
    "tidy the hair": "a comb",
    "write a letter": "a pen",
}


def needed_tool(rng: Random) -> Draw:
    goal, *others = rng.sample(list(NEEDED), 3)
    wrong = tuple(NEEDED[other] for other in others)
    return Draw(
        {"name": rng.choice(PEOPLE).name, "goal": goal},
        target=NEEDED[goal],
        wrong=wrong,
        key=(goal, *sorted(wrong)),
    )


EFFECTS = {
    "dropped a cup on the stone floor": "The cup broke.",
    "left the ice in the sun": "The ice melted.",
    "never watered the flowers": "The flowers died.",
    "turned off the lamp": "The room got dark.",
    "lit a fire in the room": "The room got warm.",
    "missed the last bus": "{He} walked home.",
    "forgot the umbrella in the rain": "{His} clothes got wet.",
    "studied hard for the test": "{He} passed the test.",
    "told a funny joke": "Everybody laughed.",
    "planted seeds in the garden": "Flowers grew.",
    "put too much salt in the soup": "The soup tasted bad.",
    "left the milk in the sun for a week": "The milk turned sour.",
    "rode the bike over a nail": "The tyre went flat.",
    "called the dog": "The dog came.",
    "paid for the bread": "The baker said thank you.",
    "put the letter in the post": "A friend got the letter.",
}


def effect(rng: Random) -> Draw:
    person = rng.choice(PEOPLE)
    cause, *others = rng.sample(list(EFFECTS), 3)
    pronouns = {"He": person.he.capitalize(), "His": person.his.capitalize()}
    return Draw(
        {"cause": f"{person.name} {cause}."},
        target=EFFECTS[cause].format(**pronouns),
        wrong=tuple(EFFECTS[other].format(**pronouns) for other in others),
        key=(cause, *sorted(others)),
    )


# neighbours are too close to call
_CLEAR = [(SIZES[i], SIZES[j]) for i, j in combinations(range(len(SIZES)), 2) if j - i > 1]


def size(rng: Random, label: str) -> Draw:
    small, large = (rng.choice(things) for things in rng.choice(_CLEAR))
    relation = rng.choice(("bigger", "smaller"))
    fits = (large, small) if relation == "bigger" else (small, large)
    first, second = fits if label == "yes" else fits[::-1]
    return Draw({"first": a(first), "second": a(second), "relation": relation}, key=(small, large))


_USES = {
    "drank": ("the tea", "the milk", "the coffee", "the water"),
    "read": ("the book", "the letter", "the newspaper", "the poem"),
    "ate": ("the apple", "the bread", "the cake", "the pear"),
    "wore": ("the hat", "the coat", "the shirt", "the skirt"),
    "drove": ("the car", "the bus", "the truck", "the van"),
    "played": ("the piano", "the guitar", "the violin", "the flute"),
    "climbed": ("the mountain", "the tree", "the hill", "the ladder"),
}
_TIMES = ("after dinner", "in the evening", "in the morning", "on Sunday")


def sense(rng: Random, label: str) -> Draw:
    verb, other = rng.sample(list(_USES), 2)
    thing = rng.choice(_USES[verb if label == "sensible" else other])
    return Draw({"sentence": f"{rng.choice(PEOPLE).name} {verb} {thing} {rng.choice(_TIMES)}."})


# property: what has it, what clearly has not
_PROPERTIES = {
    "soft": (words("pillow blanket sponge towel"), words("stone brick hammer coin axe plate")),
    "sharp": (words("knife needle saw razor"), words("pillow ball spoon hat cup towel")),
    "sweet": (words("honey sugar cake chocolate"), words("salt lemon stone soap coal onion")),
    "cold": (words("ice snow frost hail"), words("fire soup tea candle oven sun")),
    "hot": (words("fire steam lava oven"), words("ice snow frost hail river frog")),
    "heavy": (words("piano truck elephant mountain"), words("feather leaf coin hat letter spoon")),
    "round": (words("ball coin wheel ring"), words("book ladder brick letter knife house")),
    "loud": (words("drum thunder trumpet siren"), words("pillow feather moth snow leaf shadow")),
    "wet": (words("rain river sea lake"), words("sand dust coal fire salt brick")),
    "alive": (words("dog tree bird flower"), words("stone car lamp piano coin bridge")),
}


def property_holder(rng: Random) -> Draw:
    quality = rng.choice(list(_PROPERTIES))
    holders, others = _PROPERTIES[quality]
    holder, wrong = rng.choice(holders), tuple(rng.sample(others, 2))
    return Draw(
        {"quality": quality}, target=holder, wrong=wrong, key=(quality, holder, *sorted(wrong))
    )


TASKS = (
    multiple_choice(
        "demo_needed_tool",
        CLUSTER,
        "ABC",
        needed_tool,
        (
            "{name} wants to {goal}. What does {name} need?",
            "Which thing helps {name} to {goal}?",
            "What do people use to {goal}?",
        ),
    ),
    multiple_choice(
        "demo_effect",
        CLUSTER,
        "ABC",
        effect,
        (
            "{cause} What happened next?",
            "Choose the effect. {cause}",
            "{cause}\nWhich of these came of it?",
        ),
    ),
    classification(
        "demo_size",
        CLUSTER,
        ("no", "yes"),
        size,
        (
            "Is {first} usually {relation} than {second}?\nOptions: {options}",
            "Think of {first} and of {second}. Is the first {relation}?",
            "Somebody says that {first} is {relation} than {second}. Do you agree?",
        ),
    ),
    classification(
        "demo_sense",
        CLUSTER,
        ("absurd", "sensible"),
        sense,
        (
            "{sentence}\nDoes this happen in real life?\nOptions: {options}",
            "What do you think of this sentence? {sentence}",
            "Sentence: {sentence}\nThis is\nOptions: {options}",
        ),
    ),
    multiple_choice(
        "demo_property",
        CLUSTER,
        "ABC",
        property_holder,
        (
            "Which of these is {quality}?",
            "One of these things is {quality}. Which one?",
            "Find the thing that is {quality}.",
        ),
    ),
)
