"""`DemoSource`: the demo tasks and their rows, the same for the same seed in every process."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from taskdepth.errors import DataError, nearest
from taskdepth.tasks.demo import (
    closed_book,
    commonsense,
    coreference,
    corpus,
    inference,
    miscellany,
    paraphrase,
    reading,
    reading_commonsense,
    sentiment,
    structure,
    summary,
    translation,
)
from taskdepth.tasks.demo.task import DemoTask, Draw
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import Example, Split

_CLUSTERS = (
    inference,
    reading,
    commonsense,
    reading_commonsense,
    coreference,
    closed_book,
    paraphrase,
    sentiment,
    structure,
    summary,
    translation,
    miscellany,
)
_MAX_REPEATS = 5000  # draws in a row without a new example, after which a task counts as used up


def by_name(tasks: tuple[DemoTask, ...]) -> dict[str, DemoTask]:
    """`tasks` by their names, in their order.

    Raises:
        DataError: two tasks share a name.
    """
    named = {task.spec.name: task for task in tasks}
    if len(named) != len(tasks):
        raise DataError("two demo tasks share a name")
    return named


DEMO_TASKS = by_name(tuple(task for cluster in _CLUSTERS for task in cluster.TASKS))


class DemoSource:
    """The embedded default source: `train`, `validation` and `test` rows for each task.

    Splits share no underlying example, labels and templates are balanced within each split, and the
    test rows do not depend on the size of the other splits. Rows are made when first asked for.

    Raises:
        DataError: the size of a split is negative.

    >>> source = DemoSource(train=4)
    >>> source.examples("demo_arithmetic", Split.TRAIN)[0].example_id
    'demo_arithmetic-0064'
    """

    def __init__(
        self, seed: int = 0, train: int = 64, validation: int = 16, test: int = 48
    ) -> None:
        self._seed = seed
        # the order in which rows are drawn: what is measured on comes first and stays the same
        self._sizes = {Split.TEST: test, Split.VALIDATION: validation, Split.TRAIN: train}
        if min(self._sizes.values()) < 0:
            raise DataError(
                f"the demo suite cannot have splits of {train}, {validation}, {test} rows"
            )
        self._rows: dict[str, dict[Split, tuple[Example, ...]]] = {}

    def specs(self) -> Mapping[str, TaskSpec]:
        """Every demo task by name, cluster by cluster."""
        return {name: task.spec for name, task in DEMO_TASKS.items()}

    def examples(self, task: str, split: Split) -> list[Example]:
        """The rows of one split of one task.

        Raises:
            DataError: the task is unknown, or has fewer distinct examples than the splits need.
        """
        if task not in DEMO_TASKS:
            raise DataError(f"unknown demo task {task!r}: {nearest(task, list(DEMO_TASKS))}")
        if task not in self._rows:
            self._rows[task] = self._draw_splits(DEMO_TASKS[task])
        return list(self._rows[task][split])

    def plain_text(self, split: Split = Split.TRAIN) -> list[str]:
        """Running English about the same world, for the pre-training of a language model."""
        return corpus.lines(self._seed, split)

    def skipped(self) -> Mapping[str, list[str]]:
        """Nothing: the rows are made here."""
        return {}

    def _draw_splits(self, task: DemoTask) -> dict[Split, tuple[Example, ...]]:
        name = task.spec.name
        rng = Random(f"{self._seed}/{name}")
        seen: set[tuple[str, ...]] = set()
        splits = {}
        for split, size in self._sizes.items():
            rows = []
            for label, template in _plan(task, size, rng):
                draw = _new_draw(task, label, seen, rng)
                if draw is None:
                    raise DataError(
                        f"task {name} has only {len(seen)} distinct examples with balanced labels, "
                        f"fewer than the {sum(self._sizes.values())} asked for"
                    )
                rows.append(task.example(f"{name}-{len(seen) - 1:04d}", template, draw, label))
            splits[split] = tuple(rows)
        return splits


def _plan(task: DemoTask, size: int, rng: Random) -> list[tuple[str, str]]:
    """`size` pairs of label and template, each pair as often as any other, in random order."""
    labels = rng.sample(task.spec.labels or ("",), max(1, len(task.spec.labels)))
    templates = rng.sample(task.templates, len(task.templates))
    cells = [(label, template) for template in templates for label in labels]
    plan = [cells[row % len(cells)] for row in range(size)]
    rng.shuffle(plan)
    return plan


def _new_draw(task: DemoTask, label: str, seen: set[tuple[str, ...]], rng: Random) -> Draw | None:
    """An underlying example that is not in `seen`, which it joins; None if none is found."""
    for _ in range(_MAX_REPEATS):
        draw = task.draw(rng, label)
        if draw.identity not in seen:
            seen.add(draw.identity)
            return draw
    return None
