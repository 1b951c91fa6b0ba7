"""The rows that a study reads: loaded once, checked, and counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from taskdepth.data.digest import RowDigest
from taskdepth.data.rows import load_and_count
from taskdepth.errors import DataError
from taskdepth.tasks.spec import Source, TaskSpec
from taskdepth.types import Example, Split

RowCounts = dict[str, dict[str, dict[str, int]]]  # task → split → used, inverted


class StudyExamples:
    """Called with a task and a split, it gives their rows, at most as many as `limits` says of the split."""

    def __init__(self, source: Source, limits: Mapping[str, int | None]) -> None:
        self._source = source
        self._limits = {Split(name): limit for name, limit in limits.items()}
        self._loaded: dict[tuple[str, Split], Sequence[Example]] = {}
        self.counts: RowCounts = {}

    def __call__(self, spec: TaskSpec, split: Split) -> Sequence[Example]:
        if (spec.name, split) not in self._loaded:
            rows, n_inverted = load_and_count(self._source, spec, split, self._limits[split])
            of_task = self.counts.setdefault(spec.name, {})
            of_task[split] = {"used": len(rows), "inverted": n_inverted}
            self._loaded[spec.name, split] = rows
        return self._loaded[spec.name, split]

    def check(self, specs: Iterable[TaskSpec], targets: Iterable[str]) -> None:
        """Load every row, so that what is wrong with them is told before a model is loaded.

        Raises:
            DataError: a split is empty, or a task whose labels are to be probed has only one of them.
        """
        for spec in specs:
            for split in Split:
                self(spec, split)
            labels = {e.label for e in self(spec, Split.TRAIN) if e.label is not None}
            if spec.labels and len(labels) < 2 and "label" in targets:
                raise DataError(
                    f"task {spec.name} has one label only ({', '.join(labels) or 'none'}) in its training "
                    "rows: leave it out of tasks, or label out of probe.targets"
                )

    def content(self, specs: Iterable[TaskSpec]) -> dict[str, dict[str, dict[str, Any]]]:
        """Task → split → how many rows take part, and the digest of their content."""
        return {
            spec.name: {
                str(split): {"rows": len(rows), "digest": RowDigest(rows).hex}
                for split in Split
                for rows in [self(spec, split)]
            }
            for spec in specs
        }
