"""The small world of the demo suite: people, things, places, actions and facts.

Many tasks use the same words, so that a tiny model meets each of them often.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    he: str
    him: str
    his: str


WOMEN = tuple(
    Person(name, "she", "her", "her")
    for name in "Anna Clara Emma Grace Ida Kate Maria Olga Rosa Tina".split()
)
MEN = tuple(
    Person(name, "he", "him", "his")
    for name in "Ben David Felix Hugo Jack Leo Noah Paul Sam Victor".split()
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

# what people own, move and lose
THINGS = tuple("bag ball bike book boat camera clock coat cup hat key lamp ring shirt".split())
COLOURS = tuple("black blue brown green grey red white yellow".split())
CONTAINERS = ("box", "bag", "basket", "drawer")
ROOMS = ("kitchen", "garden", "garage", "bedroom", "office", "cellar", "hall", "attic")
VENUES = tuple("bakery beach farm harbour library market museum school station theatre zoo".split())
JOBS = tuple("baker cook doctor driver farmer nurse painter pilot singer teacher".split())
DAYS = tuple("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split())

# body and mood, true of any person
STATES = ("angry", "cold", "happy", "hungry", "late", "sad", "thirsty", "tired", "wet", "worried")

KINDS = {
    "bird": tuple("sparrow eagle owl duck swan crow parrot goose".split()),
    "fish": tuple("trout salmon shark tuna cod eel pike herring".split()),
    "insect": tuple("ant bee wasp beetle moth fly cricket butterfly".split()),
    "mammal": tuple("cow horse dog cat sheep lion mouse elephant".split()),
    "fruit": tuple("apple pear plum cherry banana lemon peach strawberry".split()),
    "vegetable": tuple("carrot onion potato cabbage cucumber turnip leek radish".split()),
    "tool": tuple("hammer saw drill spade axe chisel rake shovel".split()),
    "vehicle": tuple("car bus train boat bike truck tram van".split()),
    "instrument": tuple("piano guitar violin drum flute trumpet harp cello".split()),
    "flower": tuple("rose tulip lily daisy poppy violet orchid sunflower".split()),
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
    "green": ("grass", "cucumber", "frog", "leek"),
    "white": ("snow", "milk", "salt", "swan"),
    "black": ("coal", "crow", "tar"),
    "orange": ("carrot", "pumpkin"),
    "brown": ("chocolate", "potato"),
    "grey": ("elephant", "ash"),
}

OPPOSITES = (
    ("big", "small"), ("clean", "dirty"), ("cold", "hot"), ("deep", "shallow"), ("dry", "wet"),
    ("early", "late"), ("empty", "full"), ("fast", "slow"), ("happy", "sad"), ("hard", "soft"),
    ("heavy", "light"), ("high", "low"), ("loud", "quiet"), ("narrow", "wide"), ("new", "old"),
    ("poor", "rich"), ("safe", "dangerous"), ("short", "tall"), ("strong", "weak"),
    ("sweet", "sour"),
)  # fmt: skip

# from small to large; things two steps apart are compared
SIZES = (
    ("ant", "pea", "moth", "bee"),
    ("ring", "key", "cherry", "coin"),
    ("mouse", "egg", "lemon", "sparrow"),
    ("cat", "hat", "book", "duck"),
    ("sheep", "chair", "swan", "dog"),
    ("cow", "horse", "piano", "sofa"),
    ("elephant", "truck", "van", "bus"),
    ("house", "bridge", "ship", "train"),
    ("mountain", "lake", "forest", "city"),
)

PRAISE = (
    "beautiful", "brilliant", "charming", "delightful", "excellent", "fine", "great", "lovely",
    "perfect", "superb", "wonderful",
)  # fmt: skip
BLAME = (
    "awful", "boring", "dreadful", "dull", "horrible", "nasty", "poor", "terrible", "ugly",
    "weak", "worthless",
)  # fmt: skip


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
