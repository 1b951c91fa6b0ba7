"""The small world of the demo suite: people, things, places, actions and facts.

Many tasks use the same words, so that a tiny model meets each of them often.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from taskdepth.tasks.demo.english import words


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    he: str
    him: str
    his: str


WOMEN = tuple(
    Person(name, "she", "her", "her")
    for name in words("Anna Clara Emma Grace Ida Kate Maria Olga Rosa Tina")
)
MEN = tuple(
    Person(name, "he", "him", "his")
    for name in words("Ben David Felix Hugo Jack Leo Noah Paul Sam Victor")
)
PEOPLE = WOMEN + MEN


@dataclass(frozen=True, slots=True)
class Action:
    """Something done to a thing: `wash the car`."""

    verb: str
    past_verb: str
    participle: str
    thing: str

    @property
    def base(self) -> str:
        return f"{self.verb} the {self.thing}"

    @property
    def past(self) -> str:
        return f"{self.past_verb} the {self.thing}"


_VERBS = {
    ("wash", "washed", "washed"): ("car", "window", "shirt", "horse"),
    ("paint", "painted", "painted"): ("door", "wall", "fence", "boat"),
    ("repair", "repaired", "repaired"): ("bike", "clock", "roof", "radio"),
    ("open", "opened", "opened"): ("letter", "box", "window", "bag"),
    ("carry", "carried", "carried"): ("chair", "box", "lamp", "bag"),
    ("find", "found", "found"): ("key", "ring", "ball", "hat"),
    ("sell", "sold", "sold"): ("boat", "car", "piano", "horse"),
    ("draw", "drew", "drawn"): ("tree", "bridge", "horse", "house"),
    ("close", "closed", "closed"): ("door", "window", "gate", "shop"),
    ("break", "broke", "broken"): ("cup", "lamp", "plate", "clock"),
    ("buy", "bought", "bought"): ("book", "camera", "coat", "lamp"),
    ("hide", "hid", "hidden"): ("key", "letter", "ring", "book"),
}
ACTIONS = tuple(Action(*verb, thing) for verb, things in _VERBS.items() for thing in things)

# what people own and lose
PORTABLE = words("ball book camera clock coat cup hat key lamp ring shirt")
THINGS = (*PORTABLE, "bag", "bike", "boat")
COLOURS = words("black blue brown green grey red white yellow")
CONTAINERS = ("box", "bag", "basket", "drawer")
ROOMS = ("kitchen", "garden", "garage", "bedroom", "office", "cellar", "hall", "attic")
VENUES = words("bakery beach farm harbour library market museum school station theatre zoo")
JOBS = words("baker cook doctor driver farmer nurse painter pilot singer teacher")
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")

# body and mood, true of any person
STATES = ("angry", "cold", "happy", "hungry", "late", "sad", "thirsty", "tired", "wet", "worried")

KINDS = {
    "bird": words("sparrow eagle owl duck swan crow parrot goose"),
    "fish": words("trout salmon shark tuna cod eel pike herring"),
    "insect": words("ant bee wasp beetle moth fly cricket butterfly"),
    "mammal": words("cow horse dog cat sheep lion mouse elephant"),
    "fruit": words("apple pear plum cherry banana lemon peach strawberry"),
    "vegetable": words("carrot onion potato cabbage cucumber turnip leek radish"),
    "tool": words("hammer saw drill spade axe chisel rake shovel"),
    "vehicle": words("car bus train boat bike truck tram van"),
    "instrument": words("piano guitar violin drum flute trumpet harp cello"),
    "flower": words("rose tulip lily daisy poppy violet orchid sunflower"),
}

# country: capital
CONTINENTS = {
    "Europe": {
        "Austria": "Vienna", "France": "Paris", "Germany": "Berlin", "Greece": "Athens",
        "Hungary": "Budapest", "Ireland": "Dublin", "Italy": "Rome", "Norway": "Oslo",
        "Poland": "Warsaw", "Portugal": "Lisbon", "Spain": "Madrid", "Sweden": "Stockholm",
    },
    "Asia": {
        "China": "Beijing", "Iran": "Tehran", "Iraq": "Baghdad", "Japan": "Tokyo",
        "Lebanon": "Beirut", "Nepal": "Kathmandu", "Thailand": "Bangkok", "Vietnam": "Hanoi",
    },
    "Africa": {
        "Egypt": "Cairo", "Ghana": "Accra", "Kenya": "Nairobi", "Morocco": "Rabat",
        "Nigeria": "Abuja", "Senegal": "Dakar", "Tunisia": "Tunis", "Uganda": "Kampala",
    },
    "South America": {
        "Chile": "Santiago", "Colombia": "Bogota", "Ecuador": "Quito", "Peru": "Lima",
        "Uruguay": "Montevideo", "Venezuela": "Caracas",
    },
}  # fmt: skip
CAPITALS = {country: city for pairs in CONTINENTS.values() for country, city in pairs.items()}
CITIES = tuple(CAPITALS[country] for country in CONTINENTS["Europe"])

COLOURED = {
    "yellow": ("banana", "lemon", "butter", "sunflower"),
    "red": ("tomato", "cherry", "strawberry", "blood"),
    "green": ("grass", "cucumber", "frog", "pea"),
    "white": ("snow", "milk", "salt", "swan"),
    "black": ("coal", "crow", "tar"),
    "orange": ("carrot", "pumpkin"),
    "brown": ("chocolate", "potato"),
    "grey": ("elephant", "ash"),
}

MASS = words("ash blood butter chocolate coal grass milk salt snow tar")  # no plural, no "a"

OPPOSITES = (
    ("big", "small"), ("clean", "dirty"), ("cold", "hot"), ("deep", "shallow"), ("dry", "wet"),
    ("early", "late"), ("empty", "full"), ("fast", "slow"), ("happy", "sad"), ("closed", "open"),
    ("heavy", "light"), ("high", "low"), ("loud", "quiet"), ("narrow", "wide"), ("new", "old"),
    ("poor", "rich"), ("safe", "dangerous"), ("short", "tall"), ("strong", "weak"),
    ("sweet", "sour"),
)  # fmt: skip

# from small to large
SIZES = (
    ("ant", "pea", "moth", "bee", "fly"),
    ("ring", "key", "cherry", "coin"),
    ("mouse", "egg", "lemon", "sparrow", "cup"),
    ("cat", "hat", "book", "duck"),
    ("sheep", "chair", "swan", "dog"),
    ("cow", "horse", "piano", "sofa", "lion"),
    ("elephant", "truck", "van", "bus", "car"),
    ("house", "bridge", "ship", "train"),
    ("mountain", "lake", "forest", "city"),
)

# fit for films, food and hotels alike
PRAISE = words(
    "brilliant delightful excellent fantastic fine great lovely perfect pleasant splendid superb "
    "wonderful"
)
BLAME = words(
    "awful bad disappointing dismal dreadful horrible lousy miserable nasty poor terrible "
    "unpleasant"
)


def two_people(rng: Random) -> tuple[Person, Person]:
    first, second = rng.sample(PEOPLE, 2)
    return first, second


def same_gender(rng: Random) -> tuple[Person, Person]:
    """Two people whom one pronoun fits."""
    first, second = rng.sample(rng.choice((WOMEN, MEN)), 2)
    return first, second


def weekdays(rng: Random, n: int) -> list[str]:
    """`n` different days, in the order of the week."""
    return sorted(rng.sample(DAYS, n), key=DAYS.index)


def mixed_gender(rng: Random) -> tuple[Person, Person]:
    """A woman and a man, in either order."""
    woman, man = rng.choice(WOMEN), rng.choice(MEN)
    return (woman, man) if rng.random() < 0.5 else (man, woman)
