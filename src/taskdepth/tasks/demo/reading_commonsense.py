"""Cluster reading_comprehension_commonsense: what a passage implies but does not say."""

from __future__ import annotations

from random import Random

from taskdepth.tasks.demo.english import a
from taskdepth.tasks.demo.lexicon import COLOURS, DAYS, PEOPLE, THINGS, VENUES, two_people
from taskdepth.tasks.demo.task import Draw, classification, generation, multiple_choice

CLUSTER = "reading_comprehension_commonsense"

MOMENTS = {
    "afraid": (
        "heard a strange noise in the dark",
        "met a hungry lion",
        "saw a thief with a knife",
        "lost the way at night",
    ),
    "angry": (
        "saw a boy kick a dog",
        "waited two hours for a lazy driver",
        "paid for a phone that did not work",
        "caught a man who told lies",
    ),
    "happy": (
        "won a prize",
        "got a letter from an old friend",
        "found the lost dog",
        "danced with a good friend",
    ),
    "sad": (
        "said goodbye to a dear friend",
        "heard that the old cat had died",
        "lost the ring of a dead aunt",
        "watched the last ship of summer leave",
    ),
}


def feeling(rng: Random, label: str) -> Draw:
    person, venue, day = rng.choice(PEOPLE), rng.choice(VENUES), rng.choice(DAYS)
    moment = rng.choice(MOMENTS[label])
    return Draw(
        {
            "passage": f"On {day} {person.name} went to the {venue}. There {person.he} {moment}.",
            "name": person.name,
        }
    )


_GIVING = ("gave", "lent", "sent", "sold")
_TAKING = ("borrowed", "bought", "got", "took")


def holder(rng: Random) -> Draw:
    """Giving verbs move the thing to the other person, taking verbs to the subject."""
    one, two = two_people(rng)
    thing, colour, day = rng.choice(THINGS), rng.choice(COLOURS), rng.choice(DAYS)
    if rng.random() < 0.5:
        act, target = f"{one.name} {rng.choice(_GIVING)} the {thing} to {two.name}", two.name
    else:
        act, target = f"{one.name} {rng.choice(_TAKING)} the {thing} from {two.name}", one.name
    return Draw(
        {"passage": f"On {day} {act}. It was a {colour} {thing}.", "thing": thing}, target=target
    )


# weather: (sentences, what helps, what does not)
_WEATHER = (
    (
        ("It rained all day.", "Dark clouds came and water fell from the sky."),
        ("umbrella", "raincoat", "warm coat"),
        ("sun hat", "bottle of sun cream", "swimsuit"),
    ),
    (
        ("Snow fell all day.", "The lake was frozen and the wind was icy."),
        ("warm coat", "wool scarf", "pair of gloves"),
        ("swimsuit", "bottle of sun cream", "sun hat"),
    ),
    (
        ("The sun was very hot.", "It was the hottest day of summer."),
        ("sun hat", "bottle of sun cream", "cold drink"),
        ("warm coat", "wool scarf", "pair of gloves"),
    ),
)


def outfit(rng: Random, label: str) -> Draw:
    person, venue = rng.choice(PEOPLE), rng.choice(VENUES)
    weather, useful, useless = rng.choice(_WEATHER)
    item = rng.choice(useful if label == "yes" else useless)
    return Draw(
        {
            "passage": f"{person.name} walked to the {venue}. {rng.choice(weather)}",
            "name": person.name,
            "item": a(item),
        }
    )


CUES = {
    "beach": (
        "swam in the sea",
        "built a castle of sand",
        "looked for shells",
        "lay in the sun near the waves",
    ),
    "hospital": (
        "spoke to a doctor",
        "waited for a nurse",
        "got medicine for the pain",
        "lay in a white bed",
    ),
    "kitchen": (
        "boiled some eggs",
        "washed the plates",
        "took a pan from the shelf",
        "cut the onions",
    ),
    "library": (
        "looked for a novel",
        "borrowed two books",
        "read a newspaper in silence",
        "sat between high shelves of poems",
    ),
    "school": (
        "listened to the teacher",
        "finished the test",
        "learned to write letters",
        "sat in the classroom",
    ),
    "station": (
        "bought a ticket to Rome",
        "waited for the train",
        "looked for the right platform",
        "missed the last tram",
    ),
}


def scene(rng: Random, label: str) -> Draw:
    person, (one, two) = rng.choice(PEOPLE), rng.sample(CUES[label], 2)
    return Draw(
        {
            "passage": f"{person.name} {one}. Then {person.he} {two}.",
            "name": person.name,
        },
        key=(person.name, *sorted((one, two))),
    )


REACTIONS = {
    "had not eaten all day": "made a sandwich",
    "had walked in the sun without water": "drank two glasses of water",
    "had worked all night": "went to bed",
    "was shaking in the snow": "put on a warm coat",
    "fell into the mud": "took a bath",
    "had a bad pain in a tooth": "went to the dentist",
    "had nothing to do all afternoon": "began to read a novel",
    "saw that the train would leave in a minute": "ran to the station",
    "did not know the way": "looked at a map",
    "rode over a nail with the bike": "repaired the tyre",
    "could see nothing in the dark room": "turned on the lamp",
    "could not find the key": "looked under the sofa",
}


def reaction(rng: Random) -> Draw:
    person, venue = rng.choice(PEOPLE), rng.choice(VENUES)
    need, *others = rng.sample(list(REACTIONS), 3)
    he = person.he.capitalize()
    return Draw(
        {
            "passage": f"{person.name} came from the {venue}. {he} {need}.",
            "name": person.name,
        },
        target=f"{he} {REACTIONS[need]}.",
        wrong=tuple(f"{he} {REACTIONS[other]}." for other in others),
        key=(need, *sorted(others)),
    )


TASKS = (
    classification(
        "demo_feeling",
        CLUSTER,
        tuple(MOMENTS),
        feeling,
        (
            "{passage} How did {name} feel?\nOptions: {options}",
            "{passage}\nIn the end {name} was",
            "Passage: {passage}\nName the feeling of {name}.\nOptions: {options}",
        ),
    ),
    generation(
        "demo_holder",
        CLUSTER,
        holder,
        (
            "{passage} Who has the {thing} now?",
            "{passage}\nAfter that, the {thing} was in the house of",
            "Read: {passage}\nWhom should I ask if I need the {thing}?",
        ),
    ),
    classification(
        "demo_outfit",
        CLUSTER,
        ("no", "yes"),
        outfit,
        (
            "{passage} Was {item} a good thing to take along?\nOptions: {options}",
            "{passage}\nDid {name} need {item}?",
            "Passage: {passage}\nQuestion: would {item} help {name}?\nOptions: {options}",
        ),
    ),
    classification(
        "demo_scene",
        CLUSTER,
        tuple(CUES),
        scene,
        (
            "{passage} Where was {name}?\nOptions: {options}",
            "{passage}\nGuess the place.",
            "{passage}\nThis happened at which place?\nOptions: {options}",
        ),
    ),
    multiple_choice(
        "demo_reaction",
        CLUSTER,
        "ABC",
        reaction,
        (
            "{passage} What did {name} do next?",
            "{passage}\nChoose how the story goes on.",
            "Passage: {passage}\nWhat is the most likely next step?",
        ),
    ),
)
