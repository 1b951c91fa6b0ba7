"""Cluster misc: grammar, conversations, sums, word meanings, and repairs of text.

A conversation (`coqa`, `quac`) makes one example of its first question: the later ones do not stand
alone. Repairs take the English side of ParaCrawl and break it; a line that is not changed by that
makes no example.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from taskdepth.errors import DataError
from taskdepth.tasks.flan_raw.reading import UNANSWERABLE
from taskdepth.tasks.flan_raw.row import Row
from taskdepth.tasks.flan_raw.task import RawExample, RawTask, Reader, classified, distinct

_NO_ANSWER = "CANNOTANSWER"  # how QuAC marks it; its contexts end in the word
_QUESTION_KINDS = ("abbreviation", "entity", "description", "human", "location", "numeric")
_PUNCTUATION = str.maketrans("", "", ".,;:!?")


def _first_turn(row: Row, story: str) -> RawExample:
    questions = row.texts("questions")
    if not questions:
        raise DataError("a conversation without a question")
    return RawExample({"story": row.text(story), "question": questions[0]}, ())


def _coqa(row: Row) -> RawExample:
    return RawExample(_first_turn(row, "story").fields, row.texts("answers", "input_text")[:1])


def _quac(row: Row) -> RawExample:
    fields = dict(_first_turn(row, "context").fields)
    fields["story"] = fields["story"].removesuffix(_NO_ANSWER).rstrip()
    turns = row.at("answers", "texts")
    if not isinstance(turns, list) or not turns:
        raise DataError("column 'answers.texts' must hold a list per question")
    said = Row({"answers of the first question": turns[0]}).texts("answers of the first question")
    answers = distinct([UNANSWERABLE if text == _NO_ANSWER else text for text in said])
    return RawExample(fields, answers)


def _math(row: Row) -> RawExample:
    """The hub has the texts as Python prints bytes: b'Solve 2*x = 4 for x.\\\\n'."""
    question, answer = (
        re.sub(r"""^b(['"])(.*?)(?:\\n)?\1$""", r"\2", row.text(column))
        for column in ("question", "answer")
    )
    return RawExample({"question": question}, (answer,))


def _repaired(broken: Callable[[str], str]) -> Reader:
    def read(row: Row) -> RawExample | None:
        text = row.text("translation", "en")
        damaged = broken(text)
        if not damaged.strip() or damaged == text:
            return None
        return RawExample({"text": damaged}, (text,))

    return read


TASKS: tuple[RawTask, ...] = (
    RawTask(
        "cola",
        classified(("sentence",), ("unacceptable", "acceptable")),
        (
            "{sentence}\nHow would native speakers judge this as English?",
            "A linguist marks example sentences. The mark for this one: {sentence}",
            "Is this well formed? {sentence}",
        ),
    ),
    RawTask(
        "coqa",
        _coqa,
        (
            "{story}\n\nSomebody starts to ask about the text: {question}",
            "Story: {story}\nQ: {question}\nA few words will do.",
            "You have read this to a child, who wants to know: {question}\n\n{story}",
        ),
        hub_splits={"test": "validation"},
    ),
    RawTask(
        "fix_punct",
        _repaired(lambda text: text.translate(_PUNCTUATION)),
        (
            "Set the stops and commas that are missing here: {text}",
            "{text}\n\nThe typist left out all marks between words. Put them back.",
            "Unpunctuated: {text}\nHow should it be punctuated?",
        ),
    ),
    RawTask(
        "math_dataset",
        _math,
        (
            "{question}",
            "Algebra: {question}",
            "Work this out and give the number only.\n{question}",
        ),
    ),
    RawTask(
        "quac",
        _quac,
        (
            "{story}\n\nA student asks the teacher: {question}\nGive the teacher's quote from the text, "
            'or say "unanswerable".',
            'Source: {story}\nQ: {question}\nQuote the source, or write "unanswerable".',
            'Find the passage that settles this question: {question}\nReply "unanswerable" if none does.'
            "\n\n{story}",
        ),
        "dialogue_id",
    ),
    RawTask(
        "trec",
        classified(("text",), _QUESTION_KINDS, label="coarse_label"),
        (
            "Somebody wants to know: {text}\nWhat sort of reply do they expect?",
            "Question: {text}\nOf which kind will the reply be?",
            "Sort the question by what it looks for.\n{text}",
        ),
    ),
    RawTask(
        "true_case",
        _repaired(str.lower),
        (
            "Restore the capital letters: {text}",
            "{text}\n\nThe shift key was broken. What was meant?",
            "All small: {text}\nHow should it be spelt?",
        ),
    ),
    RawTask(
        "wic",
        classified(("word", "sentence1", "sentence2"), ("different meanings", "the same meaning")),
        (
            "Word: {word}\n1. {sentence1}\n2. {sentence2}\nHow do the two uses of the word compare?",
            '{sentence1}\n{sentence2}\n\nLook at "{word}" in both. Which is true of it?',
            'Would a dictionary list "{word}" under one sense or two, going by these lines?\n'
            "- {sentence1}\n- {sentence2}",
        ),
    ),
    RawTask(
        "word_segment",
        _repaired(lambda text: "".join(text.split())),
        (
            "Where do the words begin and end? {text}",
            "{text}\n\nThe space bar was stuck. Type the line again as it was meant.",
            "Run together: {text}\nTake it apart.",
        ),
    ),
)
