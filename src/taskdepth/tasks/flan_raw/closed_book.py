"""Cluster closed_book_qa: questions without a text to look the answer up in."""

from __future__ import annotations

from taskdepth.tasks.flan_raw.row import Row
from taskdepth.tasks.flan_raw.task import RawExample, RawTask, distinct, keyed

_SCIENCE = (
    "Science question: {question}\nWhat is right?",
    "A pupil is asked this in an exam.\n{question}\nWhat should the pupil tick?",
    "{question}\n\nWhich of the choices is correct?",
)


def _natural_question(row: Row) -> RawExample:
    return RawExample({"question": row.text("question").rstrip("? ")}, row.texts("answer"))


def _trivia(row: Row) -> RawExample:
    """Every alias of the answer is right; the value itself comes first."""
    answers = distinct((row.text("answer", "value"), *row.texts("answer", "aliases")))
    return RawExample(row.texts_of(("question",)), answers)


TASKS: tuple[RawTask, ...] = (
    RawTask("arc_challenge", keyed("question"), _SCIENCE, "id"),
    RawTask("arc_easy", keyed("question"), _SCIENCE, "id"),
    RawTask(
        "natural_questions",
        _natural_question,
        (
            "{question}?\nReply in a few words.",
            "Someone types into a search engine: {question}\nWhat are they looking for?",
            "From what you know: {question}?",
        ),
    ),
    RawTask(
        "trivia_qa",
        _trivia,
        (
            "Quiz night! {question}",
            "{question}\nGive the name or fact that is looked for.",
            "Trivia: {question}",
        ),
    ),
)
