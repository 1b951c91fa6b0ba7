"""What is in a task: rows, labels and lengths, and what stands in the way of measuring on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from taskdepth.tasks.spec import Source, TaskSpec
from taskdepth.types import Split

MIN_TEST_ROWS = 100


def n_words(text: str) -> int:
    """The number of words between white space."""
    return len(text.split())


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """`n_rows` are the rows that probes and scores may use; `n_inverted` come on top of them."""

    n_rows: int = 0
    n_inverted: int = 0
    prompt_length: int = 0  # of all `n_rows` prompts together
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskSummary:
    """A task and what its splits hold; `splits` is empty where rows were not read."""

    spec: TaskSpec
    splits: Mapping[Split, SplitSummary] = field(default_factory=dict)

    @property
    def n_inverted(self) -> int:
        return sum(split.n_inverted for split in self.splits.values())

    @property
    def mean_prompt_length(self) -> float | None:
        n_rows = sum(split.n_rows for split in self.splits.values())
        total = sum(split.prompt_length for split in self.splits.values())
        return total / n_rows if n_rows else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the task unfit, or its scores uncertain, one short line each."""
        if not self.splits:
            return ()
        train, test = self.splits[Split.TRAIN], self.splits[Split.TEST]
        found = [f"no {split.value} rows" for split in Split if not self.splits[split].n_rows]
        if 0 < test.n_rows < MIN_TEST_ROWS:
            found.append(f"fewer than {MIN_TEST_ROWS} usable test rows")
        if self.spec.labels and train.n_rows:
            if not train.labels:
                found.append("no label in the training rows")
            elif len(train.labels) == 1:
                found.append("one label only in the training rows")
        if self.spec.labels and test.n_rows and set(self.spec.labels) - set(test.labels):
            found.append("a label is missing from the test rows")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        return {
            "task": self.spec.name,
            "cluster": self.spec.cluster,
            "kind": self.spec.kind.value,
            "labels": list(self.spec.labels),
            "splits": {
                split.value: {
                    "rows": s.n_rows,
                    "inverted": s.n_inverted,
                    "labels": dict(sorted(s.labels.items())),
                }
                for split, s in self.splits.items()
            },
            "mean_prompt_length": self.mean_prompt_length,
            "warnings": list(self.warnings),
        }


def summarise(
    source: Source, spec: TaskSpec, length: Callable[[str], int] = n_words
) -> TaskSummary:
    """Read each split of the task once; `length` measures a prompt."""
    return TaskSummary(spec, {split: _split(source, spec, split, length) for split in Split})


def _split(
    source: Source, spec: TaskSpec, split: Split, length: Callable[[str], int]
) -> SplitSummary:
    n_rows = n_inverted = prompt_length = 0
    labels: Counter[str] = Counter()
    for example in source.examples(spec.name, split):
        if example.inverted:
            n_inverted += 1
            continue
        n_rows += 1
        prompt_length += length(example.prompt)
        if example.label is not None:
            labels[example.label] += 1
    return SplitSummary(n_rows, n_inverted, prompt_length, labels)
