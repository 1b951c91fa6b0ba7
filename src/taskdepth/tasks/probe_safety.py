"""Which rows a probe may see: their label, and whether the prompt gives it away.

FLAN's "inverted" templates swap question and answer ("Write a negative review."). What a prompt reveals
there would be read off the layers as if the model had worked it out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example

# words that stand in running text whatever the answer is
_FUNCTION_WORDS = frozenset({"yes", "no", "true", "false"})
_OPTIONS = re.compile(r"^OPTIONS:[ \t]*\n((?:-[ \t][^\n]*(?:\n|\Z))+)", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[.!?][\"')\]])\s+|\n+")
_QUESTION = re.compile(r"\?[\s\"')\]”’]*\Z")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a row is to a probe. `target` is spelt as in the label set or the options."""

    target: str
    label: str | None = None
    options: tuple[str, ...] | None = None
    inverted: bool = False


def judged(
    spec: TaskSpec,
    prompt: str,
    target: str,
    inverted_cues: Sequence[str] = (),
    own_text: str | None = None,
) -> Judgement:
    """The label of a row, its options, and whether it is inverted. It is, when

    - the task has a closed label set and `target` is not in it, or the prompt names exactly one label
      of the set outside the options list (see `named_labels`): right or wrong, for leaving out only
      the rows whose *own* label is named would skew what remains;
    - the task is multiple choice and `target` is not among the options, or there are none (in all
      such tasks of FLAN, answering templates list them, and only inverted ones do not);
    - `re.search` finds one of `inverted_cues` in the prompt of free text.

    The template is not known here, so a text that happens to name one label goes too: few reviews, but
    about one row in ten of ag_news ("business", "world").

    `own_text` is the part of the prompt that is not the same in every row; by default all of it. What
    all rows share gives nothing away.

    >>> spec = TaskSpec("film", "sentiment", Kind.CLASSIFICATION, ("negative", "positive"))
    >>> judged(spec, "Great!\\nIs it positive?", " Positive").label
    'positive'
    >>> judged(spec, "Write a positive review.", "Great!").inverted
    True
    """
    options = options_of(prompt)
    if spec.labels:
        label = _matched(target, spec.labels)
        if label is None:
            return Judgement(target, options=options, inverted=True)
        names = named_labels(prompt if own_text is None else own_text, spec.labels)
        offered = options if options and label in options else None
        return Judgement(label, label, offered, inverted=len(names) == 1)
    if spec.kind is Kind.MULTIPLE_CHOICE:
        option = _matched(target, options or ())
        return Judgement(option or target, options=options, inverted=option is None)
    return Judgement(target, inverted=any(re.search(cue, prompt) for cue in inverted_cues))


def judged_example(
    spec: TaskSpec, example_id: str, prompt: str, target: str, inverted_cues: Sequence[str] = ()
) -> Example:
    """The row of one target as an `Example`, judged."""
    verdict = judged(spec, prompt, target, inverted_cues)
    return Example(
        example_id,
        spec.name,
        prompt,
        (verdict.target,),
        verdict.label,
        verdict.options,
        verdict.inverted,
    )


def options_of(prompt: str) -> tuple[str, ...] | None:
    """The answers that a prompt lists in FLAN's way; the last list, if there are several.

    >>> options_of("Is it so?\\nOPTIONS:\\n- yes\\n- no")
    ('yes', 'no')
    """
    lists = _OPTIONS.findall(prompt)
    if not lists:
        return None
    return tuple(line[1:].strip() for line in lists[-1].splitlines())


def named_labels(prompt: str, labels: tuple[str, ...]) -> frozenset[str]:
    """The labels that the prompt names as whole words, in any case, outside its options list.

    A label in a sentence that ends in "?" is asked about, not given away. Labels that stand in any
    text are never counted: yes, no, true, false, numbers and single letters. The longest label
    wins: "not toxic" does not name "toxic".

    >>> sorted(named_labels("Not toxic? It is toxic.", ("not toxic", "toxic")))
    ['toxic']
    """
    pattern, spelt = _names(labels)
    if pattern is None:
        return frozenset()
    sentences = _SENTENCE_END.split(_OPTIONS.sub("\n", prompt))
    told = [sentence for sentence in sentences if not _QUESTION.search(sentence)]
    return frozenset(
        spelt[found.casefold()]
        for sentence in told
        for found in pattern.findall(sentence)
        if found.casefold() in spelt
    )


@lru_cache(maxsize=256)
def _names(labels: tuple[str, ...]) -> tuple[re.Pattern[str] | None, Mapping[str, str]]:
    spelt = {
        label.casefold(): label
        for label in labels
        if len(label) > 1 and not label.isdigit() and label.casefold() not in _FUNCTION_WORDS
    }
    if not spelt:
        return None, spelt
    longest_first = "|".join(re.escape(name) for name in sorted(spelt, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{longest_first})(?!\w)", re.IGNORECASE), spelt


def _matched(target: str, known: Sequence[str]) -> str | None:
    """The member of `known` that `target` is: exactly, else but for spacing and case if only one is."""
    if target in known:
        return target
    stripped = target.strip()
    if stripped in known:
        return stripped
    alike = {name for name in known if name.strip().casefold() == stripped.casefold()}
    return alike.pop() if len(alike) == 1 else None
