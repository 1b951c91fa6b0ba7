"""Which rows of which tasks a model is tuned on, and how often."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from taskdepth.errors import DataError, nearest
from taskdepth.tasks.spec import TaskSpec


class Rates(StrEnum):
    """How often a task is seen, given how many rows it has."""

    PROPORTIONAL = "proportional"  # every row once an epoch
    TEMPERATURE = "temperature"
    UNIFORM = "uniform"
    WEIGHTS = "weights"


class Draws(Protocol):
    """Chooses the rows of an epoch."""

    def draw(
        self, n_rows: Mapping[str, int], specs: Sequence[TaskSpec], seed: int
    ) -> dict[str, list[int]]:
        """Task → row numbers, ascending, of the `n_rows` it has."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """How many rows of each task make an epoch, and which.

    The caps come first: at most so many rows of a task, and of a cluster (shared out among its tasks in
    proportion to what they have). `rates` then deals the epoch's rows out to the tasks: in proportion to
    their capped sizes; to the power 1/`temperature` of these (Raffel et al. 2020, section 3.5.2: 1 is
    proportional, large is uniform); alike for all; or by `weights`. A task whose share exceeds its rows
    repeats them. `epoch_examples` is how many rows an epoch has, by default as many as the caps leave.
    """

    rates: str = Rates.PROPORTIONAL
    temperature: float = 1.0
    weights: Mapping[str, float] = field(default_factory=dict)
    cap_per_task_examples: int | None = None
    cap_per_cluster_examples: int | None = None
    epoch_examples: int | None = None

    def draw(
        self, n_rows: Mapping[str, int], specs: Sequence[TaskSpec], seed: int
    ) -> dict[str, list[int]]:
        """Task → row numbers of an epoch, ascending, of the `n_rows` it has; it depends on `seed` alone.

        Raises:
            DataError: `weights` names an unknown task or lacks one, or no task has any weight.
        """
        capped = self._capped(n_rows, specs)
        shares = self._shares(capped)
        return {
            spec.name: _numbers(
                n_rows[spec.name], capped[spec.name], shares[spec.name], f"{seed}/{spec.name}"
            )
            for spec in specs
        }

    def draw_each(
        self, n_rows: Mapping[str, int], specs: Sequence[TaskSpec], seed: int
    ) -> dict[str, list[int]]:
        """Task → row numbers, as many as the whole mixture has, of those that the caps leave the task.

        Raises:
            DataError: as `draw`.
        """
        capped = self._capped(n_rows, specs)
        total = sum(self._shares(capped).values())
        return {
            spec.name: _numbers(n_rows[spec.name], capped[spec.name], total, f"{seed}/{spec.name}")
            for spec in specs
            if capped[spec.name]
        }

    def _capped(self, n_rows: Mapping[str, int], specs: Sequence[TaskSpec]) -> dict[str, int]:
        cap = self.cap_per_task_examples
        kept = {s.name: min(n_rows[s.name], n_rows[s.name] if cap is None else cap) for s in specs}
        clusters: dict[str, list[str]] = defaultdict(list)
        for spec in specs:
            clusters[spec.cluster].append(spec.name)
        cap = self.cap_per_cluster_examples
        for names in clusters.values():
            if cap is not None and sum(kept[name] for name in names) > cap:
                dealt = deal(cap, [kept[name] for name in names])
                kept.update(zip(names, dealt, strict=True))
        return kept

    def _shares(self, capped: Mapping[str, int]) -> dict[str, int]:
        total = sum(capped.values()) if self.epoch_examples is None else self.epoch_examples
        if self.rates == Rates.PROPORTIONAL and self.epoch_examples is None:
            return dict(capped)
        weights = self._weights(capped)
        if not any(weights):
            raise DataError("mixture.weights and the caps leave nothing to train on")
        return dict(zip(capped, deal(total, weights), strict=True))

    def _weights(self, capped: Mapping[str, int]) -> list[float]:
        if self.rates == Rates.UNIFORM:
            return [float(n > 0) for n in capped.values()]
        if self.rates == Rates.WEIGHTS:
            for name in self.weights:
                if name not in capped:
                    raise DataError(f"mixture.weights: {name}: {nearest(name, list(capped))}")
            if missing := [name for name in capped if name not in self.weights]:
                raise DataError(f"mixture.weights has no weight for {', '.join(missing[:5])}")
            return [float(self.weights[name]) if n else 0.0 for name, n in capped.items()]
        power = 1 / self.temperature if self.rates == Rates.TEMPERATURE else 1.0
        return [n**power if n else 0.0 for n in capped.values()]


def _numbers(n_rows: int, n_kept: int, share: int, seed: str) -> list[int]:
    """`share` of the `n_kept` rows that the caps leave, each as often as the others or once more."""
    rng = random.Random(seed)
    kept = range(n_rows) if n_kept == n_rows else rng.sample(range(n_rows), n_kept)
    if share == 0:
        return []
    whole, rest = divmod(share, n_kept)
    extra = rng.sample(kept, rest)
    return sorted([*kept] * whole + extra)


def deal(total: int, weights: Sequence[float]) -> list[int]:
    """`total` in proportion to `weights`, whole numbers, largest remainders first.

    >>> deal(3, [1, 1, 2])
    [1, 1, 1]
    """
    exact = [total * weight / sum(weights) for weight in weights]
    shares = [int(x) for x in exact]
    by_remainder = sorted(range(len(weights)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares
