"""Cluster paraphrase: do two sentences say the same?"""

from __future__ import annotations

from taskdepth.errors import DataError
from taskdepth.tasks.flan_raw.row import Row
from taskdepth.tasks.flan_raw.task import RawExample, RawTask, classified

_PAIR = ("sentence1", "sentence2")
_TEMPLATES = (
    "A: {sentence1}\nB: {sentence2}\nIs B another way to put A?",
    "{sentence1}\n{sentence2}\n\nCould either sentence stand in for the other?",
    "Compare:\n- {sentence1}\n- {sentence2}\nIs the message one and the same?",
)
_MAX_SIMILARITY = 5


def _similarity(row: Row) -> RawExample:
    """The mean judgement, a number between 0 and 5, rounded to the nearest label."""
    value = row.at("label")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"column 'label' must hold a number, found {value!r}")
    if not 0 <= value <= _MAX_SIMILARITY:
        raise DataError(f"column 'label' must lie between 0 and {_MAX_SIMILARITY}, found {value}")
    label = str(round(value))
    return RawExample(row.texts_of(_PAIR), (label,), label=label)


TASKS: tuple[RawTask, ...] = (
    RawTask("glue_mrpc", classified(_PAIR, ("no", "yes")), _TEMPLATES),
    RawTask(
        "glue_qqp",
        classified(("question1", "question2"), ("no", "yes")),
        (
            "Asked today: {question1}\nAsked before: {question2}\nHas today's question been asked before?",
            "{question1}\n{question2}\n\nWould one reply settle both questions?",
            "A forum wants to merge duplicates.\n- {question1}\n- {question2}\nAre these two duplicates?",
        ),
    ),
    RawTask("paws_wiki", classified(_PAIR, ("no", "yes")), _TEMPLATES),
    RawTask(
        "stsb",
        _similarity,
        (
            "A: {sentence1}\nB: {sentence2}\nHow close are A and B in meaning? A higher number is closer.",
            "{sentence1}\n{sentence2}\n\nPick the number that tells how alike they are; more is more alike.",
            "Grade how much of the first sentence the second one says, the highest grade for all of it."
            "\n- {sentence1}\n- {sentence2}",
        ),
    ),
)
