"""Cluster sentiment: is the writer pleased?"""

from __future__ import annotations

from taskdepth.tasks.flan_raw.row import Row
from taskdepth.tasks.flan_raw.task import RawExample, RawTask, classified

_POLARITY = ("negative", "positive")
_NEUTRAL = 2


def _tweet(row: Row) -> RawExample | None:
    """0 and 4 are the ends of the scale; the test split also has neutral tweets, no task of FLAN's."""
    sentiment = row.number("sentiment", (0, _NEUTRAL, 4))
    if sentiment == _NEUTRAL:
        return None
    label = _POLARITY[sentiment // 4]
    return RawExample({"text": row.text("text")}, (label,), label=label)


TASKS: tuple[RawTask, ...] = (
    RawTask(
        "imdb_reviews",
        classified(("text",), _POLARITY),
        (
            "Film review:\n{text}\n\nWhat does the reviewer make of the film?",
            "{text}\n\nHow did this viewer feel about what they saw?",
            "Read what a cinema-goer wrote and name the verdict.\n\n{text}\n",
        ),
    ),
    RawTask(
        "sentiment140",
        _tweet,
        (
            "Tweet: {text}\nWhich mood is its author in?",
            "What feeling does this short message carry?\n{text}",
            "{text}\n\nName the tone of the post above.",
        ),
    ),
    RawTask(
        "sst2",
        classified(("sentence",), _POLARITY),
        (
            "From a film critic: {sentence}\nWhat is the opinion here?",
            "A review has this phrase: {sentence}\nWhich way does it lean?",
            "Name the attitude towards the film.\n{sentence}",
        ),
    ),
    RawTask(
        "yelp_polarity_reviews",
        classified(("text",), _POLARITY),
        (
            "A customer wrote:\n{text}\n\nWas it a good or a bad visit, in one word?",
            "{text}\n\nWhich kind of rating goes with this text about a business?",
            "Name the overall impression of the place.\n\n{text}\n",
        ),
    ),
)
