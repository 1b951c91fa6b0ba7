"""Cluster reading_comprehension_commonsense: texts that leave something unsaid."""

from __future__ import annotations

from taskdepth.tasks.flan_raw.row import Row
from taskdepth.tasks.flan_raw.task import RawExample, RawTask, chosen, distinct

_GAP = "@placeholder"


def _record(row: Row) -> RawExample:
    """The entities of the news text are the options; any mention of the right one is an answer."""
    fields = {
        "passage": row.text("passage").replace("@highlight", "-"),
        "query": row.text("query").replace(_GAP, "____"),
    }
    options = distinct(row.texts("entities"))
    return RawExample(fields, distinct(row.texts("answers")), options=options)


TASKS: tuple[RawTask, ...] = (
    RawTask(
        "cosmos_qa",
        chosen(("context", "question"), tuple(f"answer{number}" for number in range(4))),
        (
            "{context}\n\n{question}",
            "Read between the lines.\n{context}\nQuestion: {question}",
            "Someone writes in a blog:\n{context}\n\nYour guess: {question}",
        ),
        "id",
    ),
    RawTask(
        "record",
        _record,
        (
            "{passage}\n\nWho or what is missing here? {query}",
            "News:\n{passage}\n\nSentence with a gap: {query}\nWhat fills the gap?",
            "Fill ____ with a name from the report.\nReport: {passage}\nSentence: {query}",
        ),
    ),
)
