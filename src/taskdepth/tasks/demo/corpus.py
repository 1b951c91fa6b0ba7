"""Running English about the world of the demo suite, for the pre-training of a language model.

Declarative lines made of the same words as the tasks, but never worded as a task.
"""

from __future__ import annotations

from random import Random

from taskdepth.tasks.demo.commonsense import EFFECTS, NEEDED
from taskdepth.tasks.demo.english import a, capital, listing, number, plural
from taskdepth.tasks.demo.lexicon import (
    ACTIONS,
    BLAME,
    CITIES,
    COLOURED,
    COLOURS,
    CONTAINERS,
    CONTINENTS,
    JOBS,
    KINDS,
    MASS,
    OPPOSITES,
    PEOPLE,
    PORTABLE,
    PRAISE,
    ROOMS,
    SIZES,
    STATES,
    THINGS,
    VENUES,
    two_people,
    weekdays,
)
from taskdepth.tasks.demo.reading_commonsense import CUES, MOMENTS, REACTIONS
from taskdepth.tasks.demo.translation import LANGUAGES, NOUN_ROWS, PLACE_ROWS, VERB_ROWS, meaning
from taskdepth.types import Split

# train comes first, so that the few facts stand where they are learnt
N_LINES = {Split.TRAIN: 3000, Split.VALIDATION: 300, Split.TEST: 300}


def _capital_city(rng: Random) -> str:
    continent = rng.choice(list(CONTINENTS))
    country, city = rng.choice(list(CONTINENTS[continent].items()))
    return rng.choice(
        (
            f"{city} is the capital of {country}.",
            f"{country} is a country in {continent}, and its capital is {city}.",
            f"{city} lies in {country}, and {country} lies in {continent}.",
        )
    )


def _kind(rng: Random) -> str:
    kind = rng.choice(list(KINDS))
    members = rng.sample(KINDS[kind], 3)
    return rng.choice(
        (
            f"{capital(listing([plural(member) for member in members]))} are {plural(kind)}.",
            f"{capital(a(members[0]))} is {a(kind)}.",
        )
    )


def _size(rng: Random) -> str:
    every_other = SIZES[rng.randrange(2) :: 2]  # neighbours are too close to call
    levels = sorted(rng.sample(range(len(every_other)), 3))
    small, middle, large = (a(rng.choice(every_other[level])) for level in levels)
    return f"{capital(small)} is small, {middle} is bigger, and {large} is bigger still."


def _colour(rng: Random) -> str:
    colour = rng.choice(list(COLOURED))
    thing = rng.choice(COLOURED[colour])
    thing = thing if thing in MASS else a(thing)
    return rng.choice(
        (
            f"The colour of {thing} is {colour}.",
            f"{rng.choice(PEOPLE).name} drew {thing} in {colour}.",
        )
    )


def _opposite(rng: Random) -> str:
    (one, other), (two, another) = rng.sample(OPPOSITES, 2)
    return f"{capital(one)} is the opposite of {other}, and {two} is the opposite of {another}."


def _counting(rng: Random) -> str:
    start = rng.randint(1, 36)
    return f"After {number(start)} comes {number(start + 1)}, and then {number(start + 2)}."


def _tool(rng: Random) -> str:
    goal, tool = rng.choice(list(NEEDED.items()))
    person = rng.choice(PEOPLE)
    return f"{person.name} wanted to {goal}, so {person.he} took {tool}."


def _effect(rng: Random) -> str:
    person, (cause, effect) = rng.choice(PEOPLE), rng.choice(list(EFFECTS.items()))
    effect = effect.format(He=person.he.capitalize(), His=person.his.capitalize())
    return f"{person.name} {cause}. {effect}"


def _reaction(rng: Random) -> str:
    person, (need, act) = rng.choice(PEOPLE), rng.choice(list(REACTIONS.items()))
    return f"{person.name} {need}, so {person.he} {act}."


def _feeling(rng: Random) -> str:
    person, feeling = rng.choice(PEOPLE), rng.choice(list(MOMENTS))
    return f"{person.name} was {feeling} because {person.he} {rng.choice(MOMENTS[feeling])}."


def _scene(rng: Random) -> str:
    person, place = rng.choice(PEOPLE), rng.choice(list(CUES))
    where = f"in the {place}" if place == "kitchen" else f"at the {place}"
    return f"{person.name} was {where}, and there {person.he} {rng.choice(CUES[place])}."


def _possession(rng: Random) -> str:
    (one, two), (thing, other) = two_people(rng), rng.sample(THINGS, 2)
    colour, another = rng.sample(COLOURS, 2)
    return f"{one.name} has a {colour} {thing}, but {two.name}'s {other} is {another}."


def _place(rng: Random) -> str:
    thing, container, room = rng.choice(PORTABLE), rng.choice(CONTAINERS), rng.choice(ROOMS)
    return f"The {thing} is in the {container}, and the {container} is in the {room}."


def _visits(rng: Random) -> str:
    (one, two), (venue, other) = two_people(rng), rng.sample(VENUES, 2)
    day, later = weekdays(rng, 2)
    return (
        f"On {day} {listing([one.name, two.name])} went to the {venue}. "
        f"On {later} {one.name} visited the {other}."
    )


def _order(rng: Random) -> str:
    person, (first, second) = rng.choice(PEOPLE), rng.sample(ACTIONS, 2)
    return f"First {person.name} {first.past}, and after that {person.he} {second.past}."


def _passive(rng: Random) -> str:
    person, action = rng.choice(PEOPLE), rng.choice(ACTIONS)
    return (
        f"The {action.thing} was {action.participle} by {person.name}, "
        f"because {person.he} wanted to {action.base}."
    )


def _review(rng: Random) -> str:
    subjects = ("film", "story", "music", "soup", "waiter", "room", "garden", "book", "trip")
    first, second = rng.sample(subjects, 2)
    words, linked = rng.choice((PRAISE, BLAME)), "and"
    one, two = rng.sample(words, 2)
    if rng.random() < 0.3:
        linked, two = "but", rng.choice(BLAME if words is PRAISE else PRAISE)
    verdict = "liked it" if words is PRAISE else "hated it"
    return (
        f"The {first} was {one}, {linked} the {second} was {two}. "
        f"{rng.choice(PEOPLE).name} {verdict}."
    )


def _biography(rng: Random) -> str:
    person, city = rng.choice(PEOPLE), rng.choice(CITIES)
    pet = a(rng.choice(("cat", "dog", "horse", "parrot")))
    return (
        f"{person.name} is {a(rng.choice(JOBS))}. {person.he.capitalize()} comes from {city} "
        f"and has {pet}."
    )


def _weather(rng: Random) -> str:
    sky, wind = rng.choice(("clear", "cloudy", "grey", "sunny")), rng.choice(("light", "strong"))
    (day,) = weekdays(rng, 1)
    return f"On {day} the sky was {sky} in {rng.choice(CITIES)}, and the wind was {wind}."


def _speech(rng: Random) -> str:
    (one, two), state = two_people(rng), rng.choice(STATES)
    return rng.choice(
        (
            f'"I am {state}," said {one.name}. {two.name} wanted to help {one.him}.',
            f'"You are {state}," said {one.name}, and {two.name} went home.',
        )
    )


def _gift(rng: Random) -> str:
    (one, two), thing = two_people(rng), rng.choice(THINGS)
    return rng.choice(
        (
            f"{one.name} gave the {thing} to {two.name}. Now {two.name} has the {thing}.",
            f"{one.name} bought the {thing} from {two.name}. Now {one.name} has the {thing}.",
        )
    )


def _dictionary(rng: Random) -> str:
    """Words and phrases only: whole sentences are what the translation tasks ask for."""
    language = rng.choice(LANGUAGES[1:])
    noun, verb, place = rng.choice(NOUN_ROWS), rng.choice(VERB_ROWS), rng.choice(PLACE_ROWS)
    if rng.random() < 0.3:
        return f'In {language}, "{place["English"]}" is "{place[language]}".'
    english, foreign = (f"{noun[name]} {verb[name]}" for name in ("English", language))
    return f'In {language}, "{english}" is "{foreign}".'


def _foreign(rng: Random) -> str:
    return meaning(rng).sentence(rng.choice(LANGUAGES))


_MAKERS = (
    _capital_city,
    _kind,
    _size,
    _colour,
    _opposite,
    _counting,
    _tool,
    _effect,
    _reaction,
    _feeling,
    _scene,
    _possession,
    _place,
    _visits,
    _order,
    _passive,
    _review,
    _biography,
    _weather,
    _speech,
    _gift,
    _dictionary,
    _foreign,
)


def lines(seed: int, split: Split) -> list[str]:
    """The lines of `split`: all different, and in no other split."""
    rng = Random(f"{seed}/plain_text")
    seen: dict[str, None] = {}
    while len(seen) < sum(N_LINES.values()):
        seen.setdefault(rng.choice(_MAKERS)(rng))
    order = list(N_LINES)
    start = sum(N_LINES[earlier] for earlier in order[: order.index(split)])
    return list(seen)[start : start + N_LINES[split]]
