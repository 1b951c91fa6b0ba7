"""Cluster coreference: what does a word refer to?"""

from __future__ import annotations

from taskdepth.tasks.flan_raw.row import Row
from taskdepth.tasks.flan_raw.task import RawExample, RawTask, chosen, classified, distinct


def _pronoun(row: Row) -> RawExample:
    candidates = row.texts("candidates")
    right = row.class_name("label", candidates)
    return RawExample(row.texts_of(("sentence", "pronoun")), (right,), options=distinct(candidates))


TASKS: tuple[RawTask, ...] = (
    RawTask(
        "definite_pronoun_resolution",
        _pronoun,
        (
            '{sentence}\nWhom or what does "{pronoun}" mean here?',
            'In the sentence below, replace "{pronoun}" by what it stands for.\n{sentence}',
            "Sentence: {sentence}\nWord: {pronoun}\nWhat does the word point back to?",
        ),
    ),
    RawTask(
        "winogrande",
        chosen(("sentence",), ("option1", "option2"), "answer", first=1),
        (
            "Fill the gap marked by _.\n{sentence}",
            "{sentence}\n\nWhich of the two belongs where the underscore is?",
            "What makes sense in place of _ in this sentence?\n{sentence}",
        ),
        hub_splits={"train_xl": "train"},
    ),
    RawTask(
        "wsc",
        classified(("text", "span1_text", "span2_text"), ("no", "yes")),
        (
            '{text}\nDoes "{span2_text}" stand for "{span1_text}"?',
            'Text: {text}\nA reader takes "{span2_text}" to be "{span1_text}". Is the reader right?',
            'Think of who is who.\n{text}\nIs it "{span1_text}" that "{span2_text}" refers to?',
        ),
    ),
)
