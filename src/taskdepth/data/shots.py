"""k-shot prompts: the same rows, each after some solved ones of its task."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from taskdepth.data.rows import usable
from taskdepth.data.tokenise import PromptFormat
from taskdepth.errors import DataError
from taskdepth.tasks.spec import Source, TaskSpec
from taskdepth.types import Example, Split

BETWEEN_SHOTS = "\n\n"
# demonstrations are drawn from this many training rows, themselves drawn from all: data sets may be sorted
POOL_ROWS = 512


class FewShotSource:
    """`source` with `n_shots` demonstrations in front of every prompt.

    Demonstrations come from the task's training rows, without those of inverted templates and without any
    that has the prompt of the row itself; which ones, and in which order, depends on the seed and the
    row alone. Each is dressed as a prompt is, with its target behind it.
    """

    def __init__(
        self, source: Source, n_shots: int, prompt_format: PromptFormat, seed: int
    ) -> None:
        self._source = source
        self._n_shots = n_shots
        self._format = prompt_format
        self._seed = seed
        self._pool = cache(self._read_pool)

    def specs(self) -> Mapping[str, TaskSpec]:
        return self._source.specs()

    def examples(self, task: str, split: Split) -> Iterable[Example]:
        """The rows of one split, each with its demonstrations; reading again gives the same.

        Raises:
            DataError: the task has too few training rows to show.
        """
        return _Again(self, task, split)

    def plain_text(self, split: Split) -> Iterable[str]:
        return self._source.plain_text(split)

    def skipped(self) -> Mapping[str, Sequence[str]]:
        return self._source.skipped()

    def dressed(self, task: str, split: Split) -> Iterator[Example]:
        """`examples`, once."""
        for example in self._source.examples(task, split):
            yield replace(example, prompt=self._prompt(example))

    def _prompt(self, example: Example) -> str:
        pool = [shot for shot in self._pool(example.task) if shot.prompt != example.prompt]
        if len(pool) < self._n_shots:
            raise DataError(
                f"task {example.task} has {len(pool)} training rows to show, data.shots={self._n_shots}"
            )
        rng = random.Random(f"{self._seed}/shots/{example.example_id}")
        shots = rng.sample(pool, self._n_shots)
        solved = [
            f"{s.prompt}{self._format.after}{self._format.target_prefix}{s.target}" for s in shots
        ]
        return f"{BETWEEN_SHOTS}{self._format.before}".join([*solved, example.prompt])

    def _read_pool(self, task: str) -> tuple[Example, ...]:
        """A uniform sample in one pass (Vitter 1985, algorithm R)."""
        rng = random.Random(f"{self._seed}/shots/{task}")
        pool: list[Example] = []
        for i, example in enumerate(usable(self._source.examples(task, Split.TRAIN))):
            if i < POOL_ROWS:
                pool.append(example)
            elif (place := rng.randrange(i + 1)) < POOL_ROWS:
                pool[place] = example
        return tuple(pool)


@dataclass(frozen=True, slots=True)
class _Again:
    """Rows that can be read more than once."""

    source: FewShotSource
    task: str
    split: Split

    def __iter__(self) -> Iterator[Example]:
        return self.source.dressed(self.task, self.split)
