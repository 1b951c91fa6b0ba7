"""How many regions curves have: as few as chance and nothing more can make of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from taskdepth.selection.cuts import best_cut, fit_runs, least_costs
from taskdepth.selection.rotations import ROUNDING, line_basis, rotated

MOST_REGIONS = 5
SMALLEST_GAIN = 0.005  # of the curves' variance: what a further boundary has to explain
DRAWS_AT_ONCE = 2**18  # values of all runs that are held at the same time

Curves = Float[np.ndarray, "n_signals n_layers"]


@dataclass(frozen=True, slots=True)
class RegionCount:
    """`n_regions`, 1 for none; `p_value`: how often straight lines with noise look as much like steps."""

    n_regions: int
    p_value: float


def count_regions(
    curves: Curves,
    rng: np.random.Generator,
    *,
    level: float,
    price: float,
    n_draws: int,
    most: int = MOST_REGIONS,
) -> RegionCount:
    """The smallest number of regions, up to `most`, that curves of mean 0 and variance 1 agree with.

    One region is a straight line. k regions are the best cut into k straight lines. Draws of these
    with rotated residuals show what noise around k regions looks like; k is too few if cuts into
    more regions leave less of the curves unexplained than they leave of all but a share `level` of
    the draws. Cuts of all larger numbers are looked at together (the smallest of their p-values, the
    same taken of every draw: Westfall & Young 1993): two of three steps may explain nothing where
    three explain all. Against a straight line, levels alone are evidence, as in `detect_regions`; from
    two regions on, lines in which `price` of what a slope explains counts as unexplained are, too.

    Without noise any bend would ask for ever more straight lines. k is enough if no larger number
    lowers what straight lines leave over by `SMALLEST_GAIN` of the variance for each boundary more.
    """
    n_signals, n_layers = curves.shape
    most = min(most, n_layers - 1)
    if most < 2 or not n_signals:
        return RegionCount(1, 1.0)
    lines = fit_runs(curves).costs(0.0)
    left_over = least_costs(lines, most) / (n_signals * n_layers)
    p_values: list[float] = []
    for k in range(1, most):
        steps = np.arange(1, most + 1 - k)
        gains = (left_over[k - 1] - left_over[k:most]) / steps
        if k > 1 and gains.max() < SMALLEST_GAIN:
            return RegionCount(k, p_values[0])
        basis = line_basis(n_layers) if k == 1 else _lines_basis(best_cut(lines, k), n_layers)
        prices = (1.0,) if k == 1 else (1.0, price)
        p_values.append(_p_value(curves, basis, range(k + 1, most + 1), prices, n_draws, rng))
        if p_values[-1] > level:
            return RegionCount(k, p_values[0])
    return RegionCount(most, p_values[0])


def _lines_basis(ends: Sequence[int], n_layers: int) -> Float[np.ndarray, "n_layers n_parameters"]:
    """Orthonormal columns that span a straight line in each region."""
    columns = []
    for start, end in pairwise([0, *ends, n_layers]):
        line = line_basis(end - start) if end - start > 1 else np.ones((1, 1))
        columns.append(np.pad(line, ((start, n_layers - end), (0, 0))))
    return np.concatenate(columns, axis=1)


def _p_value(
    curves: Curves,
    basis: Float[np.ndarray, "n_layers n_parameters"],
    numbers: range,
    prices: Sequence[float],
    n_draws: int,
    rng: np.random.Generator,
) -> float:
    """How often draws are explained by cuts into `numbers` of regions as well as `curves` are."""
    draws = rotated(curves, basis, n_draws, rng)
    if np.allclose(draws, curves, rtol=0, atol=ROUNDING):
        return 1.0  # nothing was left to rotate
    n_runs = curves.shape[1] * (curves.shape[1] + 1) // 2
    n_parts = max(1, len(draws) * len(curves) * n_runs // DRAWS_AT_ONCE)
    parts = [curves[None], *np.array_split(draws, n_parts)]
    costs = np.concatenate([_costs_of_cuts(part, numbers, prices) for part in parts])
    tolerance = ROUNDING * curves.size
    ranks = np.stack(
        [np.searchsorted(np.sort(column), column + tolerance, side="right") for column in costs.T]
    )
    smallest = ranks.min(axis=0)
    return float((smallest <= smallest[0]).mean())


def _costs_of_cuts(
    draws: Float[np.ndarray, "n_draws n_signals n_layers"], numbers: range, prices: Sequence[float]
) -> Float[np.ndarray, "n_draws n_cuts"]:
    """What the best cuts into each of `numbers` of regions leave unexplained at each of `prices`."""
    fits = fit_runs(draws)
    costs = [least_costs(fits.costs(price), numbers[-1])[:, numbers[0] - 1 :] for price in prices]
    return np.concatenate(costs, axis=1)
