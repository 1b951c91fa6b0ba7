"""Cluster commonsense: what is likely to happen?"""

from __future__ import annotations

from taskdepth.errors import DataError
from taskdepth.tasks.flan_raw.row import Row
from taskdepth.tasks.flan_raw.task import RawExample, RawTask, chosen, distinct

_COPA_ASKS = {
    "cause": "Why did that happen?",
    "effect": "What happened because of that?",
}


def _copa(row: Row) -> RawExample:
    raw = chosen(("premise",), ("choice1", "choice2"))(row)
    wanted = row.text("question")
    if wanted not in _COPA_ASKS:
        raise DataError(
            f"column 'question' must be one of {', '.join(_COPA_ASKS)}, found {wanted!r}"
        )
    fields = {**raw.fields, "asked": _COPA_ASKS[wanted]}
    return RawExample(fields, raw.targets, options=raw.options)


def _hellaswag(row: Row) -> RawExample:
    endings = row.texts("endings")
    right = row.class_name("label", endings)
    fields = {"context": row.text("ctx"), "topic": row.text("activity_label")}
    return RawExample(fields, (right,), options=distinct(endings))


def _story(row: Row) -> RawExample:
    raw = chosen((), ("sentence_quiz1", "sentence_quiz2"), "answer_right_ending", first=1)(row)
    story = " ".join(row.text(f"input_sentence_{number}") for number in range(1, 5))
    return RawExample({"story": story}, raw.targets, options=raw.options)


TASKS: tuple[RawTask, ...] = (
    RawTask(
        "copa",
        _copa,
        (
            "{premise} {asked}",
            "This took place: {premise}\n{asked} Take the likelier explanation.",
            "Think about how the world works.\n{premise}\n{asked}",
        ),
    ),
    RawTask(
        "hellaswag",
        _hellaswag,
        (
            "{context}\n\nWhich continuation is the most sensible one?",
            "Topic: {topic}\n{context} ...\nHow does it go on?",
            "Pick the ending that fits what comes before it.\n\n{context}",
        ),
    ),
    RawTask(
        "piqa",
        chosen(("goal",), ("sol1", "sol2")),
        (
            "Goal: {goal}\nWhich way would work?",
            "You want this: {goal}\nWhat should you do?",
            "Give practical advice for the following aim.\n{goal}",
        ),
    ),
    RawTask(
        "story_cloze",
        _story,
        (
            "{story}\n\nWhich sentence closes this story well?",
            "A short story lacks its last line:\n{story}\nWhat is that line?",
            "Finish the tale in the way a reader would expect.\n\n{story}",
        ),
        "story_id",
    ),
)
