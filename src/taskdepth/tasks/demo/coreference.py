"""Cluster coreference: whom or what a pronoun or a description stands for."""

from __future__ import annotations

from random import Random

from taskdepth.tasks.demo.english import words
from taskdepth.tasks.demo.lexicon import (
    ACTIONS,
    JOBS,
    STATES,
    VENUES,
    mixed_gender,
    same_gender,
    two_people,
)
from taskdepth.tasks.demo.task import Draw, classification, generation, multiple_choice

CLUSTER = "coreference"


def pronoun(rng: Random) -> Draw:
    """One woman and one man: the pronoun's gender decides."""
    one, two = mixed_gender(rng)
    meant, venue, state = rng.choice((one, two)), rng.choice(VENUES), rng.choice(STATES)
    he = meant.he.capitalize()
    return Draw(
        {
            "sentence": f"{one.name} met {two.name} at the {venue}. {he} was {state}.",
            "state": state,
        },
        target=meant.name,
        key=(*sorted((one.name, two.name)), venue, state),
    )


_GOODS = words(
    "ball book camera cake clock coat drum guitar hat lamp pillow plate radio trumpet violin"
)
_HOLDERS = words("bag basket box car cupboard drawer suitcase")
_TOO_MUCH = ("big", "large", "wide")
_TOO_LITTLE = ("narrow", "short", "small")


def fit(rng: Random) -> Draw:
    thing, place = f"the {rng.choice(_GOODS)}", f"the {rng.choice(_HOLDERS)}"
    guilty, innocent = (thing, place) if rng.random() < 0.5 else (place, thing)
    size = rng.choice(_TOO_MUCH if guilty == thing else _TOO_LITTLE)
    return Draw({"thing": thing, "place": place, "size": size}, target=guilty, wrong=(innocent,))


# (what one did, why, whether the subject is meant by "she" or "he")
_REASONS = (
    ("thanked {two} because {he} had repaired the roof", False),
    ("praised {two} because {he} had won the prize", False),
    ("visited {two} because {he} was ill", False),
    ("paid {two} because {he} had washed the car", False),
    ("feared {two} because {he} was dangerous", False),
    ("phoned {two} because {he} needed help", True),
    ("left {two} because {he} wanted to be alone", True),
    ("hid from {two} because {he} was afraid", True),
    ("asked {two} for money because {he} had lost the bag", True),
    ("said sorry to {two} because {he} had broken the cup", True),
)


def reason(rng: Random, label: str) -> Draw:
    """Both people fit the pronoun: only the meaning of the verb decides."""
    one, two = same_gender(rng)
    act, subject_is_meant = rng.choice(_REASONS)
    claimed = one if subject_is_meant == (label == "yes") else two
    sentence = f"{one.name} {act}.".format(two=two.name, he=one.he)
    predicate = act.split("{he} ")[1]
    return Draw({"sentence": sentence, "claim": f"{claimed.name} {predicate}"}, key=(sentence,))


def speaker(rng: Random) -> Draw:
    one, two = two_people(rng)
    state, venue = rng.choice(STATES), rng.choice(VENUES)
    says_i = rng.random() < 0.5
    speech = f"I am {state}" if says_i else f"You are {state}"
    return Draw(
        {"scene": f'"{speech}," said {one.name} to {two.name} at the {venue}.', "state": state},
        target=one.name if says_i else two.name,
    )


def description(rng: Random, label: str) -> Draw:
    one, two = two_people(rng)
    job, other = rng.sample(JOBS, 2)
    action, meant = rng.choice(ACTIONS), rng.choice((one, two))
    claimed = meant if label == "yes" else (two if meant is one else one)
    passage = (
        f"{one.name} is a {job} and {two.name} is a {other}. "
        f"The {job if meant is one else other} {action.past}."
    )
    return Draw({"passage": passage, "name": claimed.name, "deed": action.past}, key=(passage,))


TASKS = (
    generation(
        "demo_pronoun",
        CLUSTER,
        pronoun,
        (
            "{sentence} Who was {state}?",
            "{sentence}\nName the one who was {state}.",
            "Sentence: {sentence}\nThe person who was {state} is",
        ),
    ),
    multiple_choice(
        "demo_fit",
        CLUSTER,
        "AB",
        fit,
        (
            "Why does {thing} not fit into {place}? Because it is too {size}. What is too {size}?",
            'We cannot put {thing} into {place}, since it is too {size}. What does "it" mean?',
            "I tried to put {thing} into {place}, but it was too {size}. Which was too {size}?",
        ),
    ),
    classification(
        "demo_reason",
        CLUSTER,
        ("no", "yes"),
        reason,
        (
            "{sentence}\nDoes this mean that {claim}?\nOptions: {options}",
            "{sentence}\nIs it right to say that {claim}?",
            "Text: {sentence}\nClaim: {claim}.\nOptions: {options}",
        ),
    ),
    generation(
        "demo_speaker",
        CLUSTER,
        speaker,
        (
            "{scene} Who is {state}?",
            "{scene}\nThe one who is {state} is",
            "Read the scene: {scene}\nWhich of the two people is {state}?",
        ),
    ),
    classification(
        "demo_description",
        CLUSTER,
        ("no", "yes"),
        description,
        (
            "{passage}\nWas it {name} who {deed}?\nOptions: {options}",
            "{passage}\nCan we say that {name} {deed}?",
            "Text: {passage}\nClaim: {name} {deed}.\nOptions: {options}",
        ),
    ),
)
