"""Cluster paraphrase: do two sentences say the same, and how else could one be said?"""

from __future__ import annotations

from random import Random

from taskdepth.tasks.demo.english import a, words
from taskdepth.tasks.demo.lexicon import ACTIONS, DAYS, PEOPLE, THINGS, two_people
from taskdepth.tasks.demo.task import Draw, classification, generation

CLUSTER = "paraphrase"


def voice(rng: Random, label: str) -> Draw:
    """An active sentence and a passive one; when they differ, in one word only."""
    name, action, day = rng.choice(PEOPLE).name, rng.choice(ACTIONS), rng.choice(DAYS)
    agent, thing = name, action.thing
    if label == "no":
        if rng.random() < 0.5:
            agent = rng.choice([person.name for person in PEOPLE if person.name != name])
        else:
            same_verb = [other.thing for other in ACTIONS if other.verb == action.verb]
            thing = rng.choice([other for other in same_verb if other != thing])
    first = f"On {day} {name} {action.past}."
    second = f"The {thing} was {action.participle} by {agent} on {day}."
    return Draw({"first": first, "second": second}, key=(first,))


# sentence frame, and the words that fit it: a word, its synonym, its opposite
_FRAMES = {
    "{name} has {a_word} house near the {place}.": (
        ("large", "big", "small"),
        ("little", "small", "big"),
        ("pretty", "beautiful", "ugly"),
        ("costly", "expensive", "cheap"),
    ),
    "{name} was {word} when we met at the {place}.": (
        ("happy", "glad", "sad"),
        ("ill", "sick", "healthy"),
        ("silent", "quiet", "loud"),
        ("mad", "angry", "calm"),
    ),
    "The test that {name} took at the {place} was {word}.": (
        ("hard", "difficult", "easy"),
        ("simple", "easy", "hard"),
        ("quick", "fast", "slow"),
        ("dreadful", "awful", "great"),
    ),
}


def synonym(rng: Random, label: str) -> Draw:
    frame = rng.choice(list(_FRAMES))
    word, same, opposite = rng.choice(_FRAMES[frame])
    who = {
        "name": rng.choice(PEOPLE).name,
        "place": rng.choice(("bank", "church", "hospital", "lake", "park", "school", "station")),
    }
    other = same if label == "yes" else opposite
    first, second = (frame.format(word=x, a_word=a(x), **who) for x in (word, other))
    return Draw({"first": first, "second": second}, key=(first,))


_TRANSFERS = ("brought", "gave", "lent", "sent", "showed", "sold")


def word_order(rng: Random, label: str) -> Draw:
    """Almost the same words in both sentences: who receives is what changes."""
    giver, receiver = two_people(rng)
    verb, thing, day = rng.choice(_TRANSFERS), a(rng.choice(THINGS)), rng.choice(DAYS)
    one, two = (giver, receiver) if label == "equivalent" else (receiver, giver)
    first = f"On {day} {giver.name} {verb} {receiver.name} {thing}."
    second = f"{one.name} {verb} {thing} to {two.name} on {day}."
    return Draw({"first": first, "second": second}, key=(first,))


_INTENTS = (
    ("How much is {x}?", "What is the price of {x}?", "What does {x} cost?"),
    ("Where can I buy {x}?", "Which shop sells {x}?", "Where do people get {x}?"),
    ("Who needs {x}?", "Which people want {x}?", "Who would use {x}?"),
    ("How do I draw {x}?", "What is a good way to draw {x}?", "Can you show me how to draw {x}?"),
)
_TOPICS = words(
    "apple bike boat book cake camera car clock coat cup drum flute guitar hammer hat ladder lamp "
    "piano pillow radio ring saw shirt table ticket umbrella violin"
)


def question_pair(rng: Random, label: str) -> Draw:
    """Two questions with one intent, or with another intent or topic."""
    intent, other = rng.sample(_INTENTS, 2)
    topic, second_topic = (a(topic) for topic in rng.sample(_TOPICS, 2))
    first, second = rng.sample(intent, 2)
    if label == "duplicate":
        second_topic = topic
    elif rng.random() < 0.5:
        second, second_topic = rng.choice(other), topic
    first, second = first.format(x=topic), second.format(x=second_topic)
    return Draw({"first": first, "second": second}, key=tuple(sorted((first, second))))


def passive(rng: Random) -> Draw:
    name, action, day = rng.choice(PEOPLE).name, rng.choice(ACTIONS), rng.choice(DAYS)
    return Draw(
        {"sentence": f"{name} {action.past} on {day}."},
        target=f"The {action.thing} was {action.participle} by {name} on {day}.",
    )


TASKS = (
    classification(
        "demo_voice",
        CLUSTER,
        ("no", "yes"),
        voice,
        (
            "1: {first}\n2: {second}\nDo they tell the same story?\nOptions: {options}",
            '"{first}" Can this be put as "{second}"?',
            "First sentence: {first}\nSecond sentence: {second}\nSame meaning?",
        ),
    ),
    classification(
        "demo_synonym",
        CLUSTER,
        ("no", "yes"),
        synonym,
        (
            "{first}\n{second}\nDo these mean the same thing?\nOptions: {options}",
            'If I say "{first}", may I also say "{second}"?',
            "Sentence 1: {first}\nSentence 2: {second}\nParaphrase?",
        ),
    ),
    classification(
        "demo_word_order",
        CLUSTER,
        ("different", "equivalent"),
        word_order,
        (
            "{first}\n{second}\nCompare the two.\nOptions: {options}",
            "Here are two reports. {first} {second} Taken together they are",
            "A friend tells you: {first} Later she tells you: {second}\nOptions: {options}",
        ),
    ),
    classification(
        "demo_question_pair",
        CLUSTER,
        ("distinct", "duplicate"),
        question_pair,
        (
            "Question 1: {first}\nQuestion 2: {second}\nOptions: {options}",
            "{first}\n{second}\nWould one reply serve for both? These questions are",
            "Two users ask: {first} {second}\nOptions: {options}",
        ),
    ),
    generation(
        "demo_passive",
        CLUSTER,
        passive,
        (
            "Put this into the passive: {sentence}",
            "{sentence}\nSay it again, but begin with the thing.",
            "Rewrite without a change of meaning, in the passive voice.\n{sentence}",
        ),
    ),
)
