"""Regions: consecutive layers that behave alike, found as change points of per-layer signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import ruptures
from jaxtyping import Float, Int
from torch import Tensor

from taskdepth.errors import ConfigError, DataError, nearest
from taskdepth.selection.cuts import best_cut, fit_runs
from taskdepth.selection.region_count import MOST_REGIONS, count_regions
from taskdepth.selection.rotations import ROUNDING, line_basis, rotated

LEVEL = 0.01  # the chance of finding regions where there are none
COVERAGE = 0.95  # of the boundaries' intervals
N_ROTATIONS = 999  # draws under the null hypothesis: p-values in steps of 0.001
SLOPE_PRICE = 0.02  # of what a slope within a region explains, this share counts as unexplained
SHORTEST_START = 2  # layers whose curves are alike to the last digit before that is no accident
PRINTED = 1e4  # values that are whole multiples of 1 / PRINTED were rounded for a page
NO_SIGNAL = "every signal is constant, or undefined at some layer"
NAMES = ("shared", "transition", "refinement")  # arXiv:2410.20008

Curves = Float[np.ndarray, "n_signals n_layers"]


@dataclass(frozen=True, slots=True)
class Regions:
    """Where regions end, in layers counted from 1; plain Python values only.

    `boundaries` holds the last layer of each region but the last, `intervals` the 95 % range of
    each. Both are empty unless `found`; `reason` then says why. `p_value`: how often straight lines
    with noise look this much like steps; 1 where that could not be tested. `chosen`: whether
    `n_regions` was chosen for the curves instead of asked for; it is 1 where none were found then.

    Raises:
        ConfigError: the boundaries do not cut the layers into so many regions.
    """

    n_layers: int
    n_regions: int
    found: bool
    p_value: float
    boundaries: tuple[int, ...] = ()
    intervals: tuple[tuple[int, int], ...] = ()
    reason: str = ""
    chosen: bool = False

    def __post_init__(self) -> None:
        edges = (0, *self.boundaries, self.n_layers)
        n_boundaries = self.n_regions - 1 if self.found else 0
        if (
            any(a >= b for a, b in pairwise(edges))
            or len(self.boundaries) != n_boundaries
            or len(self.intervals) != n_boundaries
            or any(not 1 <= low <= high <= self.n_layers for low, high in self.intervals)
        ):
            raise ConfigError(
                f"boundaries {self.boundaries} with intervals {self.intervals} do not cut "
                f"{self.n_layers} layers into {self.n_regions} regions"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """shared, transition, refinement; region_1, region_2, … where there are not three."""
        if self.n_regions == len(NAMES):
            return NAMES
        return tuple(f"region_{k}" for k in range(1, self.n_regions + 1))

    def has(self, name: str) -> bool:
        """Whether a region called `name` was found."""
        return self.found and name in self.names

    def layers(self, name: str) -> range:
        """The layers of the region called `name`, counted from 1.

        Raises:
            ConfigError: no region is called that, or none was found.

        >>> Regions(32, 3, True, 0.001, (9, 15), ((9, 9), (14, 16))).layers("transition")
        range(10, 16)
        """
        if not self.found:
            raise ConfigError(f"no region {name!r} was found: {self.reason}")
        if name not in self.names:
            raise ConfigError(f"unknown region {name!r}: {nearest(name, list(self.names))}")
        edges = (0, *self.boundaries, self.n_layers)
        index = self.names.index(name)
        return range(edges[index] + 1, edges[index + 1] + 1)


def detect_regions(
    signals: Float[np.ndarray, "n_signals n_layers"] | Float[Tensor, "n_signals n_layers"],
    n_regions: int | None = 3,
    *,
    identical: int = 0,
    resampled: Float[np.ndarray, "n_boot n_signals n_layers"]
    | Float[Tensor, "n_boot n_signals n_layers"]
    | None = None,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> Regions:
    """Cut the layers into `n_regions` runs within which all signals are as steady as can be.

    With `n_regions` None their number is chosen too: the smallest, up to `MOST_REGIONS`, that the
    signals do not speak against at the 1 % level (`count_regions`); 1 means that none were found.

    Signals are standardised over layers, so that each has the same say. A signal that is constant,
    or not finite at some layer, is left out: where different signals speak on the two sides of a
    layer, their difference would look like a boundary. The cut is the exact least-squares optimum for
    a straight line in each region and signal, where `SLOPE_PRICE` of what a slope explains is counted
    as unexplained: regions are level where levels will do, and a steady climb from one level to the
    next is a region of its own instead of being shared out between its neighbours. A region may be
    one layer long.

    Any curve can be cut. Regions are found only if levels (no slopes) explain more variance than they
    do, at the 1 % level, for straight lines with noise that is independent between layers; a straight
    line is no evidence, since it changes nowhere in particular. The null is drawn by rotating the
    residuals of the signals' lines, all signals alike. That is exact for normal noise, however
    correlated the signals are, and includes noise without a slope (rotation tests: Langsrud 2005,
    Statistics and Computing 15). Noise that is correlated between layers, such as a random walk,
    and curves with a bend, such as an exponential approach, do pass for regions.

    Noise never repeats itself: where no signal moves at all over the first layers, as it is below the
    first adapted block of all models, the first region is exactly these. Signals alone cannot show
    that of a single layer: `identical` says of how many first layers it is known that the control
    models' states are those of another model (`Signals.identical`); the longer of both counts.

    The intervals are those of the same cut for `n_bootstrap` draws of the signals with replacement,
    or for `resampled`, the signals of resampled data. With one signal and no `resampled` they have
    no width, which tells nothing.

    Raises:
        ConfigError: fewer than two regions are asked for.
        DataError: the signals are not a matrix, or `resampled` does not fit them.

    >>> detect_regions(np.repeat([[0.1, 0.7, 0.9]], [3, 2, 4], axis=1)).boundaries
    (3, 5)
    >>> detect_regions(np.repeat([[0.1, 0.7, 0.9, 0.2]], 8, axis=1), None).boundaries
    (8, 16, 24)
    """
    if n_regions is not None and n_regions < 2:
        raise ConfigError(f"n_regions={n_regions}: there are at least 2 regions")
    curves, resampled_curves = _as_array(signals), _as_array(resampled)
    if curves.ndim != 2 or (resampled is not None and resampled_curves.shape[1:] != curves.shape):
        raise DataError(
            "signals must be [n_signals, n_layers] and resampled [n_boot, n_signals, n_layers]: "
            f"their shapes are {list(curves.shape)} and {list(resampled_curves.shape)}"
        )
    n_layers = curves.shape[1]
    usable = _standardised(curves)
    start = max(_unmoved(curves), identical)
    rng = np.random.default_rng(seed)
    chosen = n_regions is None
    if n_regions is None:
        n_regions, p_value, reason = _choice(usable, start, rng)
    else:
        p_value, reason = _evidence(usable, n_regions, start, rng)
    if reason:
        return Regions(n_layers, n_regions, False, p_value, reason=reason, chosen=chosen)
    if resampled is None:
        draws = [usable[rng.integers(len(usable), size=len(usable))] for _ in range(n_bootstrap)]
    else:
        draws = [draw for one in resampled_curves if len(draw := _standardised(one))]
    boundaries = _boundaries(usable, n_regions, start)
    intervals = _intervals(boundaries, [_boundaries(draw, n_regions, start) for draw in draws])
    return Regions(n_layers, n_regions, True, p_value, boundaries, intervals, chosen=chosen)


def _as_array(signals: np.ndarray | Tensor | None) -> np.ndarray:
    if signals is None:
        return np.empty((0, 0, 0))
    if isinstance(signals, Tensor):
        signals = signals.detach().double().cpu().numpy()
    return np.asarray(signals, dtype=np.float64)


def _standardised(curves: Curves) -> Float[np.ndarray, "n_usable n_layers"]:
    """The signals that are finite everywhere and vary, with mean 0 and variance 1 over layers."""
    finite = curves[np.isfinite(curves).all(axis=1)]
    varying = finite[np.ptp(finite, axis=1) > ROUNDING * np.abs(finite).max(axis=1, initial=0)]
    standardised: np.ndarray = varying - varying.mean(axis=1, keepdims=True)
    standardised /= standardised.std(axis=1, keepdims=True)
    return standardised


def _unmoved(curves: Curves) -> int:
    """How many layers there are at the start over which nothing moves; 0 where that may be chance."""
    finite = curves[np.isfinite(curves).all(axis=1)]
    varying = finite[np.ptp(finite, axis=1) > ROUNDING * np.abs(finite).max(axis=1, initial=0)]
    if not len(varying) or np.allclose(varying * PRINTED, np.round(varying * PRINTED), atol=1e-6):
        return 0
    moved = np.abs(varying - varying[:, :1]) > ROUNDING * np.abs(varying).max(axis=1, keepdims=True)
    start = int(np.argmax(moved.any(axis=0)))
    return start if start >= SHORTEST_START else 0


def _evidence(
    curves: Curves, n_regions: int, start: int, rng: np.random.Generator
) -> tuple[float, str]:
    """The p-value, and why there is no evidence for regions; "" where there is."""
    n_signals, n_layers = curves.shape
    if n_layers <= n_regions:
        return 1.0, f"{n_layers} layers are too few to tell {n_regions} regions apart"
    if not n_signals:
        return 1.0, NO_SIGNAL
    if 0 < start <= n_layers - (n_regions - 1):
        return 1 / (1 + N_ROTATIONS), ""
    p_value = _p_value(curves, n_regions, rng)
    return p_value, _like_lines(p_value) if p_value > LEVEL else ""


def _choice(curves: Curves, start: int, rng: np.random.Generator) -> tuple[int, float, str]:
    """How many regions there are, the p-value, and why there is no evidence for any, or ""."""
    n_signals, n_layers = curves.shape
    if n_layers <= 2:
        return 1, 1.0, f"{n_layers} layers are too few to tell 2 regions apart"
    if not n_signals:
        return 1, 1.0, NO_SIGNAL
    count = partial(count_regions, level=LEVEL, price=SLOPE_PRICE, n_draws=N_ROTATIONS)
    if 0 < start < n_layers:
        rest = _standardised(curves[:, start:])
        return 1 + count(rest, rng, most=MOST_REGIONS - 1).n_regions, 1 / (1 + N_ROTATIONS), ""
    found = count(curves, rng)
    return found.n_regions, found.p_value, "" if found.n_regions > 1 else _like_lines(found.p_value)


def _like_lines(p_value: float) -> str:
    return f"straight lines with noise look as much like regions (p = {p_value:.2g})"


def _boundaries(curves: Curves, n_regions: int, start: int = 0) -> tuple[int, ...]:
    """The best cut; with the first region's end at `start`, unless that is 0 or leaves no room."""
    return tuple(best_cut(fit_runs(curves).costs(SLOPE_PRICE), n_regions, start))


def _level_ends(curves: Curves, n_regions: int) -> list[int]:
    # least squares is the cost of a linear kernel: the optimum of ruptures.Dynp with its l2 cost,
    # by the compiled search, several hundred times faster
    search = ruptures.KernelCPD(kernel="linear", min_size=1, jump=1).fit(curves.T)
    return [int(end) for end in search.predict(n_bkps=n_regions - 1)[:-1]]


def _explained(curves: Curves, n_regions: int) -> float:
    """The sum of squares between regions, for the best cut of centred signals into levels."""
    starts = [0, *_level_ends(curves, n_regions)]
    sums = np.add.reduceat(curves, starts, axis=1)
    lengths = np.diff([*starts, curves.shape[1]])
    return float((sums**2 / lengths).sum())


def _p_value(curves: Curves, n_regions: int, rng: np.random.Generator) -> float:
    """The share of straight lines with rotated residuals that the best cut explains as well."""
    observed = _explained(curves, n_regions)
    as_good = sum(
        _explained(draw, n_regions) >= observed * (1 - ROUNDING)
        for draw in rotated(curves, line_basis(curves.shape[1]), N_ROTATIONS, rng)
    )
    return (1 + as_good) / (1 + N_ROTATIONS)


def _intervals(
    boundaries: tuple[int, ...], draws: Sequence[tuple[int, ...]]
) -> tuple[tuple[int, int], ...]:
    """The middle 95 % of each boundary over the draws, the boundary itself always within."""
    drawn: Int[np.ndarray, "n_draws n_boundaries"] = np.array([boundaries, *draws])
    tail = (1 - COVERAGE) / 2
    lower, upper = np.quantile(drawn, [tail, 1 - tail], axis=0, method="inverted_cdf")
    return tuple(
        (min(int(low), boundary), max(int(high), boundary))
        for low, high, boundary in zip(lower, upper, boundaries, strict=True)
    )
