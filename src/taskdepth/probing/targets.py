"""What a probe of a single task reads: which class each row is of, and which rows take part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import Example, Split

if TYPE_CHECKING:
    from taskdepth.data.tokenise import Tokeniser

Rows = Mapping[Split, Sequence[Example]]


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of one target, and of every row the number of its class; None: it is left out."""

    names: tuple[str, ...]
    of: Mapping[Split, tuple[int | None, ...]]

    @property
    def coverage(self) -> float:
        """The share of the test rows that take part."""
        test = self.of[Split.TEST]
        return sum(number is not None for number in test) / len(test) if test else 0.0

    @property
    def problem(self) -> str | None:
        """Why there is nothing to probe, in plain words; None when there is."""
        n_classes = len({number for number in self.of[Split.TRAIN] if number is not None})
        if n_classes < 2:
            return "the training rows that take part are of fewer than two classes"
        for split in (Split.VALIDATION, Split.TEST):
            if all(number is None for number in self.of[split]):
                return f"no {split} row takes part"
        return None


def labels(spec: TaskSpec, rows: Rows) -> Classes:
    """The task's closed label set; rows without a label are left out."""
    return _numbered(spec.labels, rows, lambda example: example.label)


def options(rows: Rows) -> Classes:
    """The place of the right answer among the row's options.

    Only rows with as many options as most training rows have, and whose answer is one of them.
    """
    counts = Counter(len(row.options) for row in rows[Split.TRAIN] if row.options)
    n_options = max(counts, key=lambda n: (counts[n], n), default=0)

    def place(example: Example) -> str | None:
        offered = example.options or ()
        if len(offered) != n_options:
            return None
        return next((str(i) for i, text in enumerate(offered) if text in example.targets), None)

    return _numbered(tuple(map(str, range(n_options))), rows, place)


def first_tokens(rows: Rows, tokeniser: Tokeniser, n_classes: int) -> Classes:
    """The target's first token, if it is one of the `n_classes` most frequent of the training rows."""
    tokens = {split: _first_tokens(examples, tokeniser) for split, examples in rows.items()}
    counts = Counter(token for token in tokens[Split.TRAIN] if token is not None)
    frequent = sorted(counts, key=lambda token: (-counts[token], token))[:n_classes]
    number = {token: i for i, token in enumerate(frequent)}
    names = tuple(map(str, tokeniser.tokenizer.convert_ids_to_tokens(frequent)))
    found = {
        split: tuple(None if token is None else number.get(token) for token in of_split)
        for split, of_split in tokens.items()
    }
    return Classes(names, found)


def _first_tokens(examples: Sequence[Example], tokeniser: Tokeniser) -> list[int | None]:
    texts = [tokeniser.format.target_prefix + example.target for example in examples]
    encoded = tokeniser.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    return [int(ids[0]) if len(ids) else None for ids in encoded]


def _numbered(
    names: tuple[str, ...], rows: Rows, name_of: Callable[[Example], str | None]
) -> Classes:
    number = {name: i for i, name in enumerate(names)}

    def of(example: Example) -> int | None:
        name = name_of(example)
        return None if name is None else number[name]

    return Classes(names, {split: tuple(map(of, examples)) for split, examples in rows.items()})
