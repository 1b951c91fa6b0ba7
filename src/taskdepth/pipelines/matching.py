"""The same number of prompts of every task, and their states, read as far as they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from taskdepth.activations.pooling import Pooling
from taskdepth.config import ProbeConfig
from taskdepth.errors import DataError
from taskdepth.pipelines.study import Study
from taskdepth.seeds import stable_seed
from taskdepth.similarity.tasks import MIN_TASKS
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import ModelRef, Split

MIN_ROWS = 4  # of a task, for an unbiased covariance


class MatchedStates:
    """`n` rows of every task, the same ones for all models, read for one model and depth at a time.

    The tasks of a cluster stand together. Nothing is read before it is asked for.

    Raises:
        DataError: too few tasks, or too few rows of one, to compare tasks.
    """

    def __init__(self, config: ProbeConfig, specs: Sequence[TaskSpec], study: Study) -> None:
        settings = config.report.paper_figures
        self.pooling = Pooling(config.similarity.poolings[0])
        self._open = cache(study.open)  # opening checks the files, once is enough
        order = list(dict.fromkeys(spec.cluster for spec in specs))
        self.specs = sorted(specs, key=lambda spec: order.index(spec.cluster))
        self._splits = [Split(name) for name in config.similarity.splits]
        counts = {spec.name: study.n_rows(spec.name, config.similarity.splits) for spec in specs}
        fewest = min(counts, key=lambda task: counts[task])
        if len(specs) < MIN_TASKS or counts[fewest] < MIN_ROWS:
            raise DataError(
                f"report=paper_figures compares {MIN_TASKS} tasks or more with {MIN_ROWS} rows or more "
                f"each: there are {len(specs)}, and {fewest} has {counts[fewest]} rows"
            )
        self.n = min(counts[fewest], settings.rows_per_task or counts[fewest])
        self.n_points = min(self.n, settings.points_per_task)
        self._rows = {
            task: _draw(count, self.n, stable_seed(config.seed, task, "paper figures"))
            for task, count in counts.items()
        }

    def of_tasks(self, ref: ModelRef, depth: int) -> list[Float[Tensor, "n d_model"]]:
        """One model's states of every task."""
        return [self.of(ref, spec.name, depth) for spec in self.specs]

    def of(self, ref: ModelRef, task: str, depth: int) -> Float[Tensor, "n d_model"]:
        """One model's states of one task."""
        start, parts = 0, []
        for split in self._splits:
            stored = self._open(ref, task, split)
            local = [
                int(row) - start
                for row in self._rows[task]
                if start <= row < start + len(stored.example_ids)
            ]
            parts.append(stored.states(self.pooling, [depth], local)[0])
            start += len(stored.example_ids)
        return torch.cat(parts)


def _draw(count: int, n: int, seed: int) -> Int[Tensor, " n"]:
    order = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=order)[:n].sort().values
