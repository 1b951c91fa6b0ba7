"""Cluster sentiment: what a writer thinks or feels."""

from __future__ import annotations

from random import Random

from taskdepth.tasks.demo.lexicon import BLAME, DAYS, PRAISE
from taskdepth.tasks.demo.task import Draw, classification

CLUSTER = "sentiment"
POLARITY = ("negative", "positive")
_WORDS = {"positive": PRAISE, "negative": BLAME}

_FILM = ("acting", "cast", "ending", "film", "music", "story")


def movie(rng: Random, label: str) -> Draw:
    first, second = rng.sample(_FILM, 2)
    one, two = rng.sample(_WORDS[label], 2)
    linked = rng.choice(("and the", "while the"))
    return Draw(
        {"review": f"The {first} was {one} {linked} {second} was {two}."},
        key=tuple(sorted((f"{first} {one}", f"{second} {two}"))),
    )


_RESTAURANT = ("bread", "coffee", "fish", "rice", "salad", "service", "soup", "waiter")


def stars(rng: Random, label: str) -> Draw:
    """Praise for both, blame for both, or one of each."""
    first, second = rng.sample(_RESTAURANT, 2)
    good, bad = rng.sample(PRAISE, 2), rng.sample(BLAME, 2)
    if label == "three":
        words, linked = rng.sample((good[0], bad[0]), 2), "but"
    else:
        words, linked = good if label == "five" else bad, "and"
    return Draw(
        {"review": f"The {first} was {words[0]} {linked} the {second} was {words[1]}."},
        key=tuple(sorted((f"{first} {words[0]}", f"{second} {words[1]}"))),
    )


_CUES = {
    "anger": ("I am furious because", "It makes me so mad that", "I want to shout because"),
    "fear": ("I am so scared because", "My hands shake because", "I worry so much because"),
    "joy": ("I am so glad that", "I could dance because", "It is wonderful that"),
    "sadness": ("I could cry because", "I feel so low because", "My heart is heavy because"),
}
_NEWS = (
    "my brother sold the boat", "my friend is here", "my sister works in Rome now",
    "our neighbour bought a dog", "our team plays again", "the doctor called",
    "the exam is over", "the school is closed", "the train left", "they sold the house",
    "we are alone", "we go home",
)  # fmt: skip


def emotion(rng: Random, label: str) -> Draw:
    """The news fits any emotion; the words before it tell which."""
    post = f"{rng.choice(_CUES[label])} {rng.choice(_NEWS)} on {rng.choice(DAYS)}"
    return Draw({"post": post})


_HOTEL = ("bath", "bed", "breakfast", "garden", "room", "staff", "view")


def aspect(rng: Random, label: str) -> Draw:
    """One aspect pleases, the other does not; the question is about either."""
    asked, other = rng.sample(_HOTEL, 2)
    other_label = "negative" if label == "positive" else "positive"
    parts = [
        f"the {asked} was {rng.choice(_WORDS[label])}",
        f"the {other} was {rng.choice(_WORDS[other_label])}",
    ]
    key = tuple(sorted(parts))
    rng.shuffle(parts)
    return Draw({"review": f"{parts[0].capitalize()} but {parts[1]}.", "aspect": asked}, key=key)


_AFFIRM = ("was really", "was truly", "was as always")
_DENY = ("was never", "was far from", "was not at all")


def negated(rng: Random, label: str) -> Draw:
    """A negation turns the adjective round."""
    thing, day = (
        rng.choice(("book", "concert", "game", "lesson", "lunch", "trip")),
        rng.choice(DAYS),
    )
    denied = rng.random() < 0.5
    words = PRAISE if denied == (label == "complaint") else BLAME
    return Draw(
        {
            "comment": f"The {thing} on {day} {rng.choice(_DENY if denied else _AFFIRM)} "
            f"{rng.choice(words)}."
        }
    )


TASKS = (
    classification(
        "demo_movie_sentiment",
        CLUSTER,
        POLARITY,
        movie,
        (
            "Review: {review}\nSentiment:",
            "{review}\nWhat does the writer think of the film?\nOptions: {options}",
            "A critic wrote: {review} Name the sentiment of the critic.",
            "{review}\nHow would you sum up this opinion?\nOptions: {options}",
        ),
    ),
    classification(
        "demo_restaurant_stars",
        CLUSTER,
        ("five", "one", "three"),
        stars,
        (
            "{review}\nHow many stars does the guest give?\nOptions: {options}",
            "Review of a restaurant: {review}\nStars:",
            "{review}\nTurn this into a number of stars.\nOptions: {options}",
        ),
    ),
    classification(
        "demo_emotion",
        CLUSTER,
        tuple(_CUES),
        emotion,
        (
            "{post}.\nWhich emotion is this?\nOptions: {options}",
            "Post: {post}.\nEmotion:",
            'What does somebody feel who writes "{post}"?\nOptions: {options}',
        ),
    ),
    classification(
        "demo_aspect_sentiment",
        CLUSTER,
        POLARITY,
        aspect,
        (
            "{review}\nWhat does the guest say about the {aspect}?\nOptions: {options}",
            "Hotel review: {review}\nOpinion of the {aspect}:",
            "{review} Look at the {aspect} only. Sentiment?\nOptions: {options}",
        ),
    ),
    classification(
        "demo_negated_sentiment",
        CLUSTER,
        ("complaint", "praise"),
        negated,
        (
            "{comment}\nWhat kind of comment is this?\nOptions: {options}",
            "Comment: {comment}\nType of comment:",
            "Somebody writes: {comment} This sounds like\nOptions: {options}",
        ),
    ),
)
