"""Cluster reading_comprehension: questions whose answer stands in a short passage."""

from __future__ import annotations

from random import Random

from taskdepth.tasks.demo.english import listing
from taskdepth.tasks.demo.lexicon import (
    ACTIONS,
    COLOURS,
    DAYS,
    PEOPLE,
    PORTABLE,
    ROOMS,
    THINGS,
    VENUES,
    weekdays,
)
from taskdepth.tasks.demo.task import Draw, classification, generation, multiple_choice

CLUSTER = "reading_comprehension"


def possessions(rng: Random, n: int) -> tuple[list[tuple[str, str, str]], str]:
    """`n` different (owner, thing, colour) and the passage that states them."""
    owners = [person.name for person in rng.sample(PEOPLE, n)]
    facts = list(zip(owners, rng.sample(THINGS, n), rng.sample(COLOURS, n), strict=True))
    return facts, " ".join(f"{owner} has a {colour} {thing}." for owner, thing, colour in facts)


def owned_colour(rng: Random, label: str) -> Draw:
    """The wrong colour is that of another thing in the passage."""
    facts, passage = possessions(rng, 3)
    asked, other = rng.sample(facts, 2)
    colour = (asked if label == "yes" else other)[2]
    return Draw(
        {"passage": passage, "question": f"Is {asked[0]}'s {asked[1]} {colour}?"},
        key=tuple(" ".join(fact) for fact in sorted(facts)),
    )


def doer(rng: Random) -> Draw:
    people, actions = rng.sample(PEOPLE, 3), rng.sample(ACTIONS, 3)
    acts = [f"{person.name} {action.past}" for person, action in zip(people, actions, strict=True)]
    asked = rng.randrange(3)
    return Draw(
        {"passage": f"{acts[0]}. {acts[1]}, and {acts[2]}.", "deed": actions[asked].past},
        target=people[asked].name,
        key=tuple(sorted(acts)),
    )


def whereabouts(rng: Random) -> Draw:
    things, rooms = rng.sample(PORTABLE, 3), rng.sample(ROOMS, 3)
    facts = [f"The {x} is in the {room}." for x, room in zip(things, rooms, strict=True)]
    asked = rng.randrange(3)
    return Draw(
        {"passage": " ".join(facts), "thing": things[asked]},
        target=f"in the {rooms[asked]}",
        key=tuple(sorted(facts)),
    )


def visit_day(rng: Random) -> Draw:
    person, days, venues = rng.choice(PEOPLE), weekdays(rng, 3), rng.sample(VENUES, 3)
    visits = [f"the {venue} on {day}" for venue, day in zip(venues, days, strict=True)]
    asked = rng.randrange(3)
    wrong = tuple(rng.sample([day for day in days if day != days[asked]], 2))
    return Draw(
        {
            "passage": f"{person.name} visits {visits[0]}. Then {person.he} goes to {visits[1]} "
            f"and to {visits[2]}.",
            "name": person.name,
            "venue": venues[asked],
        },
        target=days[asked],
        wrong=wrong,
        key=(person.name, *visits),
    )


_COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4}


def group_size(rng: Random, label: str) -> Draw:
    """Somebody else stays at home and must not be counted."""
    *group, other = (person.name for person in rng.sample(PEOPLE, _COUNTS[label] + 1))
    venue, day = rng.choice(VENUES), rng.choice(DAYS)
    return Draw(
        {
            "passage": f"On {day} {listing(group)} went to the {venue}. {other} stayed at home.",
            "venue": venue,
        },
        key=(*sorted(group), other, venue, day),
    )


def answerable(rng: Random, label: str) -> Draw:
    """The question is about a stated thing, or gives a stated thing to the wrong owner."""
    facts, passage = possessions(rng, 2)
    asked, other = rng.sample(facts, 2)
    thing = (asked if label == "answerable" else other)[1]
    return Draw(
        {"passage": passage, "question": f"What colour is {asked[0]}'s {thing}?"},
        key=tuple(" ".join(fact) for fact in sorted(facts)),
    )


TASKS = (
    classification(
        "demo_owned_colour",
        CLUSTER,
        ("no", "yes"),
        owned_colour,
        (
            "{passage}\nQuestion: {question}\nOptions: {options}",
            "Read this: {passage}\n{question}",
            "{passage}\nUsing the text, answer: {question}\nOptions: {options}",
        ),
    ),
    generation(
        "demo_doer",
        CLUSTER,
        doer,
        (
            "{passage}\nWho {deed}?",
            "Read the text and answer. {passage}\nQuestion: who {deed}?",
            "{passage}\nName the person who {deed}.",
        ),
    ),
    generation(
        "demo_whereabouts",
        CLUSTER,
        whereabouts,
        (
            "{passage}\nWhere is the {thing}?",
            "{passage}\nI am looking for the {thing}. Where should I go?",
            "Text: {passage}\nQuestion: where can we find the {thing}?\nAnswer:",
        ),
    ),
    multiple_choice(
        "demo_visit_day",
        CLUSTER,
        "ABC",
        visit_day,
        (
            "{passage}\nWhen does {name} visit the {venue}?",
            "Here is the plan. {passage}\nOn which day is the visit to the {venue}?",
            "{passage}\nPick the day on which {name} is at the {venue}.",
        ),
    ),
    classification(
        "demo_group_size",
        CLUSTER,
        ("four", "one", "three", "two"),
        group_size,
        (
            "{passage}\nHow many people went to the {venue}?\nOptions: {options}",
            "{passage}\nCount the people at the {venue}.",
            "Text: {passage}\nQuestion: how many visited the {venue}?\nAnswer:",
        ),
    ),
    classification(
        "demo_answerable",
        CLUSTER,
        ("answerable", "unanswerable"),
        answerable,
        (
            "{passage}\nQuestion: {question}\nDoes the text give the answer?\nOptions: {options}",
            "{passage}\nLook at this question: {question}\nWith the text alone, the question is",
            "Text: {passage}\n{question}\nWhat kind of question is this?\nOptions: {options}",
        ),
    ),
)
