"""Cluster struct_to_text: a record becomes a sentence."""

from __future__ import annotations

from random import Random

from taskdepth.tasks.demo.english import a
from taskdepth.tasks.demo.lexicon import CITIES, DAYS, JOBS, PEOPLE
from taskdepth.tasks.demo.task import Draw, generation

CLUSTER = "struct_to_text"


def record(fields: dict[str, str]) -> str:
    """`fields` in one line.

    >>> record({"name": "Blue Door", "food": "French"})
    'name: Blue Door | food: French'
    """
    return " | ".join(f"{name}: {value}" for name, value in fields.items())


_FIRST_NAMES = ("Black", "Blue", "Golden", "Green", "Red", "White")
_LAST_NAMES = ("Door", "Horse", "Lamp", "Rose", "Ship", "Swan")


def restaurant(rng: Random) -> Draw:
    name = f"{rng.choice(_FIRST_NAMES)} {rng.choice(_LAST_NAMES)}"
    food = rng.choice(("Chinese", "French", "Greek", "Italian", "Spanish"))
    area, price = rng.choice(("centre", "harbour", "park")), rng.choice(("cheap", "expensive"))
    area_phrase = f"in the {area}" if area == "centre" else f"near the {area}"
    return Draw(
        {"record": record({"name": name, "food": food, "area": area, "price": price})},
        target=f"The {name} is {a(price)} {food} restaurant {area_phrase}.",
    )


def biography(rng: Random) -> Draw:
    person, job, city = rng.choice(PEOPLE), rng.choice(JOBS), rng.choice(CITIES)
    pet = rng.choice(("cat", "dog", "horse", "parrot"))
    facts = {"job": job, "city": city, "pet": pet}
    return Draw(
        {"record": ", ".join(f"({person.name}, {x}, {y})" for x, y in facts.items())},
        target=f"{person.name} is {a(job)} from {city} and has {a(pet)}.",
    )


# verbs that any of the subjects can do at any of the places
_SUBJECTS = ("bird", "boy", "cat", "child", "dog", "girl", "man", "woman")
_DEEDS = {"drink": "drinks", "eat": "eats", "hide": "hides", "rest": "rests", "sleep": "sleeps",
          "wait": "waits"}  # fmt: skip
_SPOTS = (
    "barn",
    "boat",
    "field",
    "forest",
    "garden",
    "house",
    "kitchen",
    "park",
    "tree",
    "village",
)


def concepts(rng: Random) -> Draw:
    """A sentence from three words in any order."""
    subject, spot = rng.choice(_SUBJECTS), rng.choice(_SPOTS)
    verb, form = rng.choice(list(_DEEDS.items()))
    words = [subject, verb, spot]
    rng.shuffle(words)
    place = "under the tree" if spot == "tree" else f"in the {spot}"
    return Draw(
        {"words": ", ".join(words)},
        target=f"The {subject} {form} {place}.",
        key=(subject, verb, spot),
    )


_TEAMS = ("Bears", "Eagles", "Foxes", "Lions", "Sharks", "Swans", "Tigers", "Wolves")


def match(rng: Random) -> Draw:
    home, away = rng.sample(_TEAMS, 2)
    scores = rng.sample(range(6), 2)
    day = rng.choice(DAYS)
    win, lose = (home, away) if scores[0] > scores[1] else (away, home)
    fields = {"home": f"{home} {scores[0]}", "away": f"{away} {scores[1]}", "day": day}
    return Draw(
        {"record": record(fields)},
        target=f"The {win} beat the {lose} {max(scores)} to {min(scores)} on {day}.",
    )


def forecast(rng: Random) -> Draw:
    city, day = rng.choice(CITIES), rng.choice(DAYS)
    sky = rng.choice(("clear", "cloudy", "grey", "sunny"))
    wind = rng.choice(("light", "strong", "icy"))
    return Draw(
        {"record": record({"city": city, "day": day, "sky": sky, "wind": wind})},
        target=f"{day} will be {sky} in {city}, with {a(wind)} wind.",
    )


TASKS = (
    generation(
        "demo_restaurant_text",
        CLUSTER,
        restaurant,
        (
            "Describe the restaurant: {record}",
            "{record}\nWrite a sentence about it.",
            "Data: {record}\nText:",
        ),
    ),
    generation(
        "demo_biography",
        CLUSTER,
        biography,
        (
            "Facts: {record}\nSentence:",
            "{record}\nTell me about this person.",
            "Turn the facts into a sentence. {record}",
        ),
    ),
    generation(
        "demo_concepts",
        CLUSTER,
        concepts,
        (
            "Write a sentence with these words: {words}",
            "Words: {words}\nSentence:",
            "{words}\nMake a sentence of these.",
        ),
    ),
    generation(
        "demo_match_report",
        CLUSTER,
        match,
        (
            "{record}\nWho won? Write the report.",
            "Write a short report of the match. {record}",
            "Result: {record}\nReport:",
        ),
    ),
    generation(
        "demo_forecast",
        CLUSTER,
        forecast,
        (
            "{record}\nHow will the weather be?",
            "Write the weather report: {record}",
            "Weather data: {record}\nForecast:",
        ),
    ),
)
