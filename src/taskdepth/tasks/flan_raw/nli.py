"""Cluster nli: does one sentence follow from another?"""

from __future__ import annotations

from taskdepth.tasks.flan_raw.row import Row
from taskdepth.tasks.flan_raw.task import RawExample, RawTask, classified

_PAIR = ("premise", "hypothesis")
_UNSURE = "It's impossible to say"
_UNTOLD = "it is not possible to tell"

_TEMPLATES = (
    "Text: {premise}\nClaim: {hypothesis}\nDoes the claim follow from the text?",
    "Suppose that this holds: {premise}\nMust this then hold as well: {hypothesis}",
    "Someone reads:\n{premise}\nAnd then says: {hypothesis}\nAre they right, judging by what they read?",
    "{premise}\n\nGiven only the lines above, is this correct: {hypothesis}",
)
_ANLI_CLASSES = ("Yes", _UNSURE, "No")


def _anli(round_: int) -> RawTask:
    splits = {split: f"{split}_r{round_}" for split in ("train", "validation", "test")}
    reader = classified(_PAIR, _ANLI_CLASSES)
    return RawTask(f"anli_r{round_}", reader, _TEMPLATES, "uid", splits)


def _snli(row: Row) -> RawExample | None:
    """Rows that annotators could not agree on carry -1 in every split and make no example."""
    if row.at("label") == -1:
        return None
    return classified(_PAIR, ("yes", _UNTOLD, "no"))(row)


TASKS: tuple[RawTask, ...] = (
    _anli(1),
    _anli(2),
    _anli(3),
    RawTask("cb", classified(_PAIR, ("Yes", "No", _UNSURE)), _TEMPLATES),
    RawTask("mnli_matched", classified(_PAIR, ("yes", _UNTOLD, "no")), _TEMPLATES),
    RawTask("mnli_mismatched", classified(_PAIR, ("yes", _UNTOLD, "no")), _TEMPLATES),
    RawTask(
        "qnli",
        classified(("question", "sentence"), ("yes", "no")),
        (
            "Question: {question}\nSentence: {sentence}\nCan the question be answered from the sentence?",
            "Somebody asks: {question}\nThey find this line: {sentence}\nIs their answer in it?",
            '"{sentence}"\nDoes this tell a reader who wonders "{question}" what they want to know?',
        ),
    ),
    RawTask("rte", classified(_PAIR, ("yes", "no")), _TEMPLATES),
    RawTask("snli", _snli, _TEMPLATES),
    RawTask(
        "wnli",
        classified(("sentence1", "sentence2"), ("no", "yes")),
        (
            "First: {sentence1}\nSecond: {sentence2}\nDoes the second sentence follow from the first?",
            "{sentence1}\nA reader takes this to mean: {sentence2}\nDid they get it right?",
            "Suppose that this holds: {sentence1}\nMust this hold as well: {sentence2}",
        ),
    ),
)
