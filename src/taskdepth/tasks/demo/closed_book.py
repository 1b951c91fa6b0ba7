"""Cluster closed_book_qa: facts that no passage states.

The facts are few and true; what differs between two examples is which facts meet in one question,
so that those seen in training help with the unseen questions.
"""

from __future__ import annotations

from random import Random

from taskdepth.tasks.demo.english import plural, words
from taskdepth.tasks.demo.lexicon import CAPITALS, COLOURED, CONTINENTS, KINDS, OPPOSITES
from taskdepth.tasks.demo.task import Draw, classification, generation, multiple_choice

CLUSTER = "closed_book_qa"


def capital_city(rng: Random) -> Draw:
    country, *others = rng.sample(list(CAPITALS), 3)
    wrong = tuple(CAPITALS[other] for other in others)
    return Draw({"country": country}, target=CAPITALS[country], wrong=wrong)


_PLACES = {continent: (*pairs.keys(), *pairs.values()) for continent, pairs in CONTINENTS.items()}


def same_continent(rng: Random, label: str) -> Draw:
    """Two countries or cities, of one continent or of two."""
    one, other = rng.sample(list(_PLACES), 2)
    first, second = (
        rng.sample(_PLACES[one], 2)
        if label == "yes"
        else (rng.choice(_PLACES[one]), rng.choice(_PLACES[other]))
    )
    return Draw({"first": first, "second": second}, key=tuple(sorted((first, second))))


def both_members(rng: Random, label: str) -> Draw:
    """Both things are of the kind in question, or only one is."""
    kind, other = rng.sample(list(KINDS), 2)
    first, second = rng.sample(KINDS[kind], 2)
    if label == "no":
        second = rng.choice(KINDS[other])
        first, second = rng.sample((first, second), 2)
    return Draw(
        {"first": plural(first), "second": plural(second), "kind": plural(kind)},
        key=tuple(sorted((first, second))),
    )


# not to be offered beside each other: a thing that is not small may well be tall
_MEASURES = words("big deep heavy high light low narrow shallow short small tall wide")
_OPPOSITE = {word: other for pair in OPPOSITES for word, other in (pair, pair[::-1])}


def opposite(rng: Random) -> Draw:
    word = rng.choice(list(_OPPOSITE))
    target = _OPPOSITE[word]
    unfit = {word, target, *(_MEASURES if word in _MEASURES else ())}
    wrong = tuple(rng.sample([other for other in _OPPOSITE if other not in unfit], 2))
    return Draw({"word": word}, target=target, wrong=wrong)


def coloured_thing(rng: Random) -> Draw:
    colour, *others = rng.sample(list(COLOURED), 3)
    return Draw(
        {"colour": colour},
        target=rng.choice(COLOURED[colour]),
        wrong=tuple(rng.choice(COLOURED[other]) for other in others),
    )


TASKS = (
    multiple_choice(
        "demo_capital_city",
        CLUSTER,
        "ABC",
        capital_city,
        (
            "What is the capital of {country}?",
            "Which city is the capital of {country}?",
            "The government of {country} sits in which city?",
        ),
    ),
    classification(
        "demo_same_continent",
        CLUSTER,
        ("no", "yes"),
        same_continent,
        (
            "Are {first} and {second} on the same continent?\nOptions: {options}",
            "Do {first} and {second} belong to one part of the world?",
            "Think of a map. Is {first} on the continent of {second}?\nOptions: {options}",
        ),
    ),
    classification(
        "demo_both_members",
        CLUSTER,
        ("no", "yes"),
        both_members,
        (
            "Are {first} and {second} both {kind}?\nOptions: {options}",
            "Do both {first} and {second} count as {kind}?",
            "Here are two words: {first}, {second}. Do they both name {kind}?\nOptions: {options}",
        ),
    ),
    multiple_choice(
        "demo_opposite",
        CLUSTER,
        "ABC",
        opposite,
        (
            "What is the opposite of {word}?",
            "Choose the word that means the opposite of {word}.",
            "If something is not {word} at all, what is it?",
        ),
    ),
    generation(
        "demo_coloured_thing",
        CLUSTER,
        coloured_thing,
        (
            "Which of these is usually {colour}?\nOptions: {options}",
            "Name the {colour} one.\nOptions: {options}",
            "What would you paint {colour} in a picture?\nOptions: {options}",
        ),
    ),
)
