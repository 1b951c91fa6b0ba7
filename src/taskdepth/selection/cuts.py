"""Cuts of curves into runs of consecutive layers: what each run leaves unexplained, the best cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Curves = Float[np.ndarray, "*draws n_signals n_layers"]
Costs = Float[np.ndarray, "*draws n_edges n_edges"]  # entry i, j: of a run from layer i + 1 to j


@dataclass(frozen=True, slots=True, eq=False)
class RunFits:
    """Sums over all signals, for every run of layers, `i` < `j` being its edges.

    `level`: the squares that a constant leaves over; `sloped`: how many of them a slope explains.
    """

    i: np.ndarray
    j: np.ndarray
    level: Float[np.ndarray, "*draws n_runs"]
    sloped: Float[np.ndarray, "*draws n_runs"]

    def costs(self, price: float) -> Costs:
        """What is left over where `price` of what a slope explains counts so; infinite for no run."""
        n_edges = int(self.j[-1]) + 1
        costs = np.full((*self.level.shape[:-1], n_edges, n_edges), np.inf)
        costs[..., self.i, self.j] = np.maximum(self.level - (1 - price) * self.sloped, 0)
        return costs


def fit_runs(curves: Curves) -> RunFits:
    """A constant and a straight line, by least squares, in every run of layers."""
    n_edges = curves.shape[-1] + 1
    i, j = np.triu_indices(n_edges, 1)
    layer = np.arange(n_edges - 1) - (n_edges - 2) / 2  # centred: the sums below cancel less

    def summed(values: np.ndarray) -> np.ndarray:
        """The sums of `values` over every run."""
        ends = np.concatenate([np.zeros_like(values[..., :1]), values.cumsum(axis=-1)], axis=-1)
        return np.asarray(ends[..., j] - ends[..., i])

    n = j - i
    sums, layers = summed(curves), summed(layer)
    level = (summed(curves**2) - sums**2 / n).sum(axis=-2)
    spread = summed(layer**2) - layers**2 / n
    slope = ((summed(curves * layer) - sums * layers / n) ** 2).sum(axis=-2)
    sloped = np.divide(slope, spread, out=np.zeros_like(slope), where=n > 1)
    return RunFits(i, j, level, sloped)


def best_cut(costs: Float[np.ndarray, "n_edges n_edges"], n_runs: int, first: int = 0) -> list[int]:
    """The last layers of all runs but the last, where the costs add up to least.

    The first run ends at `first`, unless that is 0 or leaves no room for the others.
    """
    n_layers = len(costs) - 1
    # least[j]: of the best cut of the first j layers into the runs so far
    least = costs[0].copy()
    if 0 < first <= n_layers - (n_runs - 1):
        least[np.arange(n_layers + 1) != first] = np.inf
    last_cuts = []
    for _ in range(n_runs - 1):
        totals = least[:, None] + costs
        last_cuts.append(totals.argmin(axis=0))
        least = totals.min(axis=0)
    end, ends = n_layers, []
    for cuts in reversed(last_cuts):
        end = int(cuts[end])
        ends.append(end)
    return ends[::-1]


def least_costs(costs: Costs, most_runs: int) -> Float[np.ndarray, "*draws most_runs"]:
    """The costs of the best cuts into 1, 2, … `most_runs` runs."""
    least = costs[..., 0, :]
    found = [least[..., -1]]
    for _ in range(most_runs - 1):
        least = (least[..., :, None] + costs).min(axis=-2)
        found.append(least[..., -1])
    return np.stack(found, axis=-1)
