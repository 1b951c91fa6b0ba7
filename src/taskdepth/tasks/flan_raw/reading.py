"""Cluster reading_comprehension: questions about a text that is given."""

from __future__ import annotations

from taskdepth.tasks.flan_raw.row import Row
from taskdepth.tasks.flan_raw.task import (
    RawExample,
    RawTask,
    classified,
    distinct,
    keyed,
)

UNANSWERABLE = "unanswerable"


def _squad(row: Row) -> RawExample:
    answers = distinct(row.texts("answers", "text"))
    return RawExample(row.texts_of(("context", "question")), answers)


def _squad_v2(row: Row) -> RawExample:
    raw = _squad(row)
    return RawExample(raw.fields, raw.targets or (UNANSWERABLE,))


def _drop(row: Row) -> RawExample:
    """Each of the spans counts as right: what annotators said, or the parts of a list."""
    answers = distinct(row.texts("answers_spans", "spans"))
    return RawExample(row.texts_of(("passage", "question")), answers)


TASKS: tuple[RawTask, ...] = (
    RawTask(
        "bool_q",
        classified(("passage", "question"), ("no", "yes"), label="answer"),
        (
            "{passage}\n\nGo by the passage: {question}?",
            "Passage: {passage}\nQuery: {question}?",
            "Use the text to settle this: {question}?\n\n{passage}\n",
        ),
    ),
    RawTask(
        "drop",
        _drop,
        (
            "{passage}\n\nWork out from the passage: {question}",
            "Passage: {passage}\nTask: {question}",
            "{question}\nThe following text has what you need; count or compare where you must.\n\n{passage}",
        ),
        "query_id",
    ),
    RawTask(
        "multirc",
        classified(("paragraph", "question", "answer"), ("no", "yes")),
        (
            "{paragraph}\n\nA student was asked: {question}\nThe student said: {answer}\nIs that right?",
            "Text: {paragraph}\nQ: {question}\nProposed reply: {answer}\nDoes the text back the reply?",
            'Judge by this text whether "{answer}" is a correct reply to "{question}".\n\n{paragraph}\n',
        ),
    ),
    RawTask(
        "openbookqa",
        keyed("question_stem"),
        (
            "{question}\n\nPick what completes or answers this.",
            "Elementary science: {question}",
            "Choose the one that fits best.\n{question}",
        ),
        "id",
    ),
    RawTask(
        "squad_v1",
        _squad,
        (
            "{context}\n\n{question} Quote the words that tell.",
            "Article excerpt: {context}\nReader's question: {question}",
            "Look for the reply in the excerpt.\nQuestion: {question}\nExcerpt: {context}",
        ),
        "id",
    ),
    RawTask(
        "squad_v2",
        _squad_v2,
        (
            '{context}\n\n{question} Say "unanswerable" if the text does not tell.',
            'Excerpt: {context}\nQuestion: {question}\nWhere the excerpt has no reply, say "unanswerable".',
            "Question: {question}\nQuote the reply from the text below; where it is not there, "
            'write "unanswerable".\n\n{context}',
        ),
        "id",
    ),
)
