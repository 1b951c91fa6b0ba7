"""Paired comparison of several ways to train: the same seeds, the same tasks, intervals of differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

N_DRAWS = 10_000
ERROR = 0.05  # the chance of any wrong claim in one family of comparisons


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the interval that goes with it."""

    value: float
    lower: float
    upper: float

    @property
    def excludes_zero(self) -> bool:
        return self.lower > 0 or self.upper < 0


class PairedMeans:
    """Means of `values[way, seed, task]`, and of their differences between ways.

    Differences are taken within a seed and a task, so that what these have in common drops out. Tasks
    and seeds are drawn with replacement, each by themselves, for all ways alike (Owen 2007, "The
    pigeonhole bootstrap", Annals of Applied Statistics 1(2)): an interval is about other tasks and
    other seeds. With a single seed it is about other tasks only. `n_comparisons` widens the intervals
    (Bonferroni), so that any of them is wrong in 5 % of studies at most.
    """

    def __init__(
        self,
        values: Float[np.ndarray, "ways seeds tasks"],
        *,
        n_comparisons: int = 1,
        n_draws: int = N_DRAWS,
        seed: int = 0,
    ) -> None:
        _, n_seeds, n_tasks = values.shape
        rng = np.random.default_rng(seed)
        seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n_draws) / n_seeds
        tasks = rng.multinomial(n_tasks, np.full(n_tasks, 1 / n_tasks), size=n_draws) / n_tasks
        self.means: Float[np.ndarray, " ways"] = values.mean(axis=(1, 2))
        by_draw: Float[np.ndarray, "ways seeds n_draws"] = values @ tasks.T
        self._drawn: Float[np.ndarray, "ways n_draws"] = (by_draw * seeds.T).sum(axis=1)
        self._tail = ERROR / (2 * max(1, n_comparisons))

    def mean(self, way: int) -> Interval:
        """The mean of one way."""
        return self._interval(self.means[way], self._drawn[way])

    def difference(self, way: int, other: int) -> Interval:
        """How much larger the mean of `way` is than that of `other`."""
        return self._interval(
            self.means[way] - self.means[other], self._drawn[way] - self._drawn[other]
        )

    def _interval(self, value: float, drawn: Float[np.ndarray, " n_draws"]) -> Interval:
        lower, upper = np.quantile(drawn, [self._tail, 1 - self._tail])
        return Interval(float(value), float(lower), float(upper))
