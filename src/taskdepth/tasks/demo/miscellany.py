"""Cluster misc: question types, word senses, grammar, topics, spelling, sums and languages."""

from __future__ import annotations

from random import Random

from taskdepth.tasks.demo.english import a, number
from taskdepth.tasks.demo.lexicon import (
    ACTIONS,
    CITIES,
    DAYS,
    KINDS,
    PEOPLE,
    PRAISE,
    THINGS,
    VENUES,
)
from taskdepth.tasks.demo.task import Draw, classification, generation, multiple_choice
from taskdepth.tasks.demo.translation import LANGUAGES, meaning

CLUSTER = "misc"

_QUESTIONS = {
    "location": (
        "Where did {name} {act}?", "In which city did {name} {act}?",
        "At which place did {name} {act}?", "To what country did the man who saw {name} go?",
    ),
    "number": (
        "How many times did {name} {act}?", "How much money did {name} pay to {act}?",
        "How old was {name} in May?", "How often did {name} {act}?",
    ),
    "person": (
        "Who helped {name} to {act}?", "Which teacher saw {name} {act}?",
        "Whose idea was it to {act}?", "With whom did {name} {act}?",
    ),
    "time": (
        "When did {name} {act}?", "In what year did {name} {act}?",
        "On which day did {name} {act}?", "At what hour did {name} {act}?",
    ),
}  # fmt: skip


def question_type(rng: Random, label: str) -> Draw:
    question, action = rng.choice(_QUESTIONS[label]), rng.choice(ACTIONS)
    return Draw({"question": question.format(name=rng.choice(PEOPLE).name, act=action.base)})


# word: the contexts of one sense, the contexts of another
_SENSES = {
    "bank": (
        ("{name} put the money into the bank", "The bank lent {name} money"),
        ("{name} sat on the bank of the river", "{name}'s boat lay at the bank"),
    ),
    "bat": (
        ("{name} hit the ball with a bat", "{name} bought a bat for the game"),
        ("{name} saw a bat fly at night", "A bat slept in {name}'s roof"),
    ),
    "ring": (
        ("{name} wore a ring of gold", "{name} lost the ring of an aunt"),
        ("{name} heard the ring of the phone", "The ring of the clock woke {name}"),
    ),
    "spring": (
        ("{name} plants roses in spring", "In spring {name} goes to the lake"),
        ("{name} drank water from the spring", "{name} found a spring in the hills"),
    ),
    "match": (
        ("{name} won the tennis match", "{name}'s match was on Sunday"),
        ("{name} lit the fire with a match", "{name} burned a hand on a match"),
    ),
    "trunk": (
        ("The elephant touched {name} with its trunk", "{name} saw the elephant lift its trunk"),
        ("{name} sat against the trunk of a tree", "{name} cut the trunk of the old tree"),
    ),
    "letter": (
        ("{name} sent a letter to the school", "A long letter came for {name}"),
        ("{name} learned the last letter of the alphabet", "{name} wrote a capital letter"),
    ),
    "light": (
        ("{name} turned on the light", "The light in {name}'s room was weak"),
        ("{name} carried a light bag", "{name}'s coat was light"),
    ),
}


def word_sense(rng: Random, label: str) -> Draw:
    word = rng.choice(list(_SENSES))
    senses = _SENSES[word]
    one, two = (person.name for person in rng.sample(PEOPLE, 2))
    if label == "yes":
        first, second = rng.sample(rng.choice(senses), 2)
    else:
        first, second = (rng.choice(sense) for sense in rng.sample(senses, 2))
    sentences = f"{first}.".format(name=one), f"{second}.".format(name=two)
    return Draw(
        {"word": word, "first": sentences[0], "second": sentences[1]}, key=tuple(sorted(sentences))
    )


def acceptability(rng: Random, label: str) -> Draw:
    """The faults: agreement, a verb in the wrong form, or words in the wrong order."""
    name, action, day = rng.choice(PEOPLE).name, rng.choice(ACTIONS), rng.choice(DAYS)
    right, wrong = rng.choice(
        (
            (
                f"{name} wants to {action.base} on {day}.",
                f"{name} want to {action.base} on {day}.",
            ),
            (
                f"{name} {action.past} on {day}.",
                f"{name} {action.past_verb} {action.thing} the {day}.",
            ),
            (
                f"{name} did not {action.base} on {day}.",
                f"{name} did not {action.past} on {day}.",
            ),
            (f"Did {name} {action.base} on {day}?", f"{name} did on {action.base} {day}?"),
        )
    )
    return Draw({"sentence": right if label == "acceptable" else wrong}, key=(right,))


_TOPICS = {
    "business": (
        "The bank in {city} lost money on {day}.", "A shop in {city} cut its prices on {day}.",
        "Workers in {city} asked for more money on {day}.",
        "The boss of a car firm came to {city} on {day}.",
    ),
    "science": (
        "Doctors in {city} tested a new medicine on {day}.",
        "A school in {city} showed a new star on {day}.",
        "Experts in {city} counted rare birds on {day}.",
        "A robot in {city} learned to paint on {day}.",
    ),
    "sports": (
        "The Lions beat the Bears in {city} on {day}.",
        "A fast runner from {city} won the race on {day}.",
        "The tennis match in {city} ended on {day}.", "The team of {city} lost again on {day}.",
    ),
    "weather": (
        "Snow fell in {city} on {day}.", "A storm hit the coast near {city} on {day}.",
        "It was hot and sunny in {city} on {day}.", "{city} will be cloudy and cold on {day}.",
    ),
}  # fmt: skip


def topic(rng: Random, label: str) -> Draw:
    text = rng.choice(_TOPICS[label])
    return Draw({"text": text.format(city=rng.choice(CITIES), day=rng.choice(DAYS))})


_SPELLED = tuple(dict.fromkeys((*(x for kind in KINDS.values() for x in kind), *THINGS, *VENUES)))


def alphabet(rng: Random) -> Draw:
    """Words of three different first letters."""
    words = rng.sample(_SPELLED, 3)
    if len({word[0] for word in words}) < 3:
        return alphabet(rng)
    first, *wrong = sorted(words)
    rng.shuffle(wrong)
    return Draw({}, target=first, wrong=tuple(wrong))


def arithmetic(rng: Random) -> Draw:
    one, two = rng.randint(1, 20), rng.randint(1, 20)
    if rng.random() < 0.5:
        sign, result, key = "plus", one + two, sorted((one, two))
    else:
        one, two = one + two, two
        sign, result, key = "minus", one - two, [one, two]
    return Draw(
        {"first": number(one), "second": number(two), "sign": sign},
        target=number(result),
        key=(sign, *map(str, key)),
    )


def language(rng: Random, label: str) -> Draw:
    return Draw({"sentence": meaning(rng).sentence(label)})


def punctuation(rng: Random) -> Draw:
    """Capitals, commas and the final mark are gone and must come back."""
    name, action, venue = rng.choice(PEOPLE).name, rng.choice(ACTIONS), rng.choice(VENUES)
    day, city = rng.choice(DAYS), rng.choice(CITIES)
    sentence = rng.choice(
        (
            f"On {day}, {name} {action.past}.",
            f"Did {name} {action.base} in {city}?",
            f"What {a(rng.choice(PRAISE))} {venue}, {name}!",
            f"{name} went to the {venue} in {city}.",
        )
    )
    bare = "".join(mark for mark in sentence.lower() if mark not in ",.?!")
    return Draw({"bare": bare}, target=sentence)


TASKS = (
    classification(
        "demo_question_type",
        CLUSTER,
        tuple(_QUESTIONS),
        question_type,
        (
            "{question}\nWhat does this question ask for?\nOptions: {options}",
            "Question: {question}\nType of answer:",
            "Sort this question: {question}\nOptions: {options}",
        ),
    ),
    classification(
        "demo_word_sense",
        CLUSTER,
        ("no", "yes"),
        word_sense,
        (
            "{first}\n{second}\nDoes {word} mean the same in both?\nOptions: {options}",
            'Look at "{word}" in these sentences: {first} {second} Same sense?',
            "{word}\n1: {first}\n2: {second}\nAre the senses alike?\nOptions: {options}",
        ),
    ),
    classification(
        "demo_acceptability",
        CLUSTER,
        ("acceptable", "unacceptable"),
        acceptability,
        (
            "{sentence}\nHow is the grammar?\nOptions: {options}",
            "Sentence: {sentence}\nGrammar check:",
            "Would an English teacher let this stand? {sentence}\nOptions: {options}",
        ),
    ),
    classification(
        "demo_topic",
        CLUSTER,
        tuple(_TOPICS),
        topic,
        (
            "{text}\nWhat is this news about?\nOptions: {options}",
            "News: {text}\nTopic:",
            "In which part of the newspaper does this stand? {text}\nOptions: {options}",
        ),
    ),
    multiple_choice(
        "demo_alphabet",
        CLUSTER,
        "ABC",
        alphabet,
        (
            "Which word comes first in the order of the alphabet?",
            "Put these words in the order of a dictionary. Which is the first?",
            "Look at the first letters. Which word stands before the others in a dictionary?",
        ),
    ),
    generation(
        "demo_arithmetic",
        CLUSTER,
        arithmetic,
        (
            "What is {first} {sign} {second}?",
            "{first} {sign} {second} makes",
            "Work this out: {first} {sign} {second}",
        ),
    ),
    classification(
        "demo_language",
        CLUSTER,
        tuple(sorted(LANGUAGES[1:])),
        language,
        (
            "{sentence}\nWhich language is this?\nOptions: {options}",
            "Sentence: {sentence}\nLanguage:",
            "Somebody says: {sentence} Guess the language.\nOptions: {options}",
        ),
    ),
    generation(
        "demo_punctuation",
        CLUSTER,
        punctuation,
        (
            "{bare}\nWrite this with capitals and marks.",
            "Correct the punctuation: {bare}",
            "Text: {bare}\nClean text:",
        ),
    ),
)
