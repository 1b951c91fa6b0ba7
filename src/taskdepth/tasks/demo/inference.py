"""Cluster nli: does a hypothesis follow from a premise?"""

from __future__ import annotations

from random import Random

from taskdepth.tasks.demo.english import a, capital, number
from taskdepth.tasks.demo.lexicon import ACTIONS, CONTAINERS, KINDS, PEOPLE, PORTABLE, ROOMS, VENUES
from taskdepth.tasks.demo.task import Draw, classification

CLUSTER = "nli"
THREE_WAY = ("contradiction", "entailment", "neutral")

_QUANTIFIED = {
    "all": "All of the {group} are {state}.",
    "some": "Some of the {group} are {state}.",
    "none": "None of the {group} are {state}.",
    "not all": "Not all of the {group} are {state}.",
}
_QUANTIFIER_PAIRS = {
    "entailment": (("all", "some"), ("none", "not all")),
    "contradiction": (("all", "none"), ("none", "some"), ("all", "not all"), ("some", "none")),
    "neutral": (("some", "all"), ("not all", "none")),
}
_GROUPS = ("children", "cooks", "cows", "dogs", "drivers", "farmers", "horses", "nurses")
_WHERE = ("at the market", "in the park", "in the village", "near the lake", "on the hill")
_STATES = ("hungry", "old", "quiet", "strong", "thirsty", "tired", "wet", "young")


def quantifier(rng: Random, label: str) -> Draw:
    upper, lower = rng.choice(_QUANTIFIER_PAIRS[label])
    group = f"{rng.choice(_GROUPS)} {rng.choice(_WHERE)}"
    state = rng.choice(_STATES)
    premise = _QUANTIFIED[upper].format(group=group, state=state)
    hypothesis = _QUANTIFIED[lower].format(group=group, state=state)
    return Draw({"premise": premise, "hypothesis": hypothesis}, key=(premise,))


_DONE = ("managed to", "remembered to", "was able to")
_UNDONE = ("failed to", "forgot to", "refused to")
_OPEN = ("hoped to", "planned to", "wanted to")
_MEANT = tuple(action for action in ACTIONS if action.verb not in ("break", "find"))


def implicative(rng: Random, label: str) -> Draw:
    """The premise's verb decides whether the thing was done, and the hypothesis agrees or not."""
    name, action = rng.choice(PEOPLE).name, rng.choice(_MEANT)
    claims_done = rng.random() < 0.5
    if label == "neutral":
        verb = rng.choice(_OPEN)
    else:
        verb = rng.choice(_DONE if claims_done == (label == "entailment") else _UNDONE)
    claim = action.past if claims_done else f"did not {action.base}"
    premise = f"{name} {verb} {action.base}."
    return Draw({"premise": premise, "hypothesis": f"{name} {claim}."}, key=(premise,))


_KINDS = ("bird", "fish", "insect", "fruit", "vegetable", "tool", "vehicle", "instrument", "flower")
_NOTICED = ("drew", "photographed", "saw", "talked about")


def hypernym(rng: Random, label: str) -> Draw:
    """Going up to the kind follows; going down, or over to another kind, does not."""
    name, verb, venue = rng.choice(PEOPLE).name, rng.choice(_NOTICED), rng.choice(VENUES)
    kind, other = rng.sample(_KINDS, 2)
    member = rng.choice(KINDS[kind])
    said, claimed = member, kind
    if label == "no":
        said, claimed = rng.choice(((kind, member), (member, other)))
    return Draw(
        {
            "premise": f"{name} {verb} {a(said)} at the {venue}.",
            "hypothesis": f"{name} {verb} {a(claimed)} at the {venue}.",
        }
    )


_COUNTED = ("birds", "boats", "books", "chairs", "cows", "cups", "letters", "trees")
_SHOWN = ("painting", "photo", "picture")


def count(rng: Random, label: str) -> Draw:
    n = rng.randint(3, 12)
    bound = rng.choice([m for m in range(2, 14) if m != n])
    more = (n > bound) == (label == "true")
    things, where = rng.choice(_COUNTED), rng.choice(_SHOWN)
    return Draw(
        {
            "premise": f"There are {number(n)} {things} in the {where}.",
            "hypothesis": f"There are {'more' if more else 'fewer'} than {number(bound)} {things} "
            f"in the {where}.",
        }
    )


def order(rng: Random, label: str) -> Draw:
    person = rng.choice(PEOPLE)
    one, two = rng.sample(ACTIONS, 2)
    link = rng.choice(("before", "after"))
    first, second = (one, two) if link == "before" else (two, one)
    claimed = first if label == "true" else second
    return Draw(
        {
            "premise": f"{person.name} {one.past} {link} {person.he} {two.past}.",
            "hypothesis": f"{person.name} {claimed.past} first.",
        },
        key=(person.name, first.base, second.base),
    )


def location(rng: Random, label: str) -> Draw:
    """Two steps lead from the thing to its room."""
    thing, absent, decoy = rng.sample(PORTABLE, 3)
    container, (room, other) = rng.choice(CONTAINERS), rng.sample(ROOMS, 2)
    claimed = absent if label == "neutral" else thing
    place = other if label == "contradiction" else room
    facts = [
        f"the {thing} is in the {container}",
        f"the {container} is in the {room}",
        f"the {decoy} is in the {other}",
    ]
    rng.shuffle(facts)
    return Draw(
        {
            "premise": f"{capital(facts[0])}, {facts[1]} and {facts[2]}.",
            "hypothesis": f"The {claimed} is in the {place}.",
        },
        key=tuple(sorted(facts)),
    )


TASKS = (
    classification(
        "demo_quantifier_nli",
        CLUSTER,
        THREE_WAY,
        quantifier,
        (
            "Premise: {premise}\nHypothesis: {hypothesis}\nOptions: {options}",
            "{premise}\nWhat follows for this sentence: {hypothesis}\nOptions: {options}",
            "We know this: {premise}\nHow does that relate to the claim: {hypothesis}",
            "{premise}\nName the relation to: {hypothesis}",
        ),
    ),
    classification(
        "demo_implicative_nli",
        CLUSTER,
        THREE_WAY,
        implicative,
        (
            "Read the sentence: {premise}\nClaim: {hypothesis}\nOptions: {options}",
            "{premise}\nGiven that, judge this: {hypothesis}\nOptions: {options}",
            "Premise: {premise}\nHypothesis: {hypothesis}\nRelation:",
            'If we read "{premise}", what can we say about "{hypothesis}"?',
        ),
    ),
    classification(
        "demo_hypernym_nli",
        CLUSTER,
        ("no", "yes"),
        hypernym,
        (
            "{premise}\nDoes it follow that {hypothesis}\nOptions: {options}",
            "Sentence 1: {premise}\nSentence 2: {hypothesis}\nDoes the second follow?",
            "{premise} Can we conclude this? {hypothesis}\nOptions: {options}",
            "If this holds: {premise} Must this hold too? {hypothesis}",
        ),
    ),
    classification(
        "demo_count_nli",
        CLUSTER,
        ("false", "true"),
        count,
        (
            "{premise}\nWhat about this claim? {hypothesis}\nOptions: {options}",
            "Fact: {premise}\nClaim: {hypothesis}\nThe claim is",
            "{premise} So judge the sentence: {hypothesis}\nOptions: {options}",
        ),
    ),
    classification(
        "demo_order_nli",
        CLUSTER,
        ("false", "true"),
        order,
        (
            "{premise}\nStatement: {hypothesis}\nOptions: {options}",
            "Here is what happened. {premise}\nIs the next sentence right? {hypothesis}",
            "{premise}\nCheck the order of events: {hypothesis}\nOptions: {options}",
        ),
    ),
    classification(
        "demo_location_nli",
        CLUSTER,
        THREE_WAY,
        location,
        (
            "{premise}\nClaim: {hypothesis}\nOptions: {options}",
            "Somebody tells us: {premise}\nAnd then: {hypothesis}\nOptions: {options}",
            "Look at the rooms. {premise}\nWhat is the status of this sentence? {hypothesis}",
        ),
    ),
)
