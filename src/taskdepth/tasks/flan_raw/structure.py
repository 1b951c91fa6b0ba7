"""Cluster struct_to_text: data put into sentences."""

from __future__ import annotations

from taskdepth.errors import DataError
from taskdepth.tasks.flan_raw.row import Row
from taskdepth.tasks.flan_raw.task import RawExample, RawTask, distinct

_ID = "gem_id"


def _answers(row: Row) -> tuple[str, ...]:
    """All references of a row that has some (those for evaluation do), else its one target."""
    references = distinct(row.texts("references"))
    return references or (row.text("target"),)


def _concepts(row: Row) -> RawExample:
    return RawExample({"concepts": ", ".join(row.texts("concepts"))}, _answers(row))


def _triples(row: Row) -> RawExample:
    triples = row.at("tripleset")
    if not isinstance(triples, list) or not all(isinstance(triple, list) for triple in triples):
        raise DataError("column 'tripleset' must hold a list of triples")
    return RawExample({"data": "; ".join(" | ".join(map(str, x)) for x in triples)}, _answers(row))


def _meaning(row: Row) -> RawExample:
    return RawExample({"data": row.text("meaning_representation")}, _answers(row))


def _web(row: Row) -> RawExample:
    return RawExample({"data": "; ".join(row.texts("input"))}, _answers(row))


_FACTS = (
    "Facts: {data}\nPut them into words.",
    "Turn these records into readable English.\n{data}",
    "{data}\n\nHow would a reporter say this?",
)

TASKS: tuple[RawTask, ...] = (
    RawTask(
        "common_gen",
        _concepts,
        (
            "Use all of these in a single sentence: {concepts}",
            "Words: {concepts}\nMake up an everyday scene with them, in a sentence.",
            "{concepts}\n\nLink the words above in a short, natural sentence.",
        ),
        _ID,
    ),
    RawTask("dart", _triples, _FACTS, _ID),
    RawTask(
        "e2e_nlg",
        _meaning,
        (
            "Restaurant record: {data}\nDescribe the place to a guest.",
            "{data}\n\nWrite a recommendation that mentions all of this.",
            "A guide needs a text from these properties: {data}",
        ),
        _ID,
    ),
    RawTask("web_nlg_en", _web, _FACTS, _ID),
)
