"""Rank correlation over tasks with permutation p-values, and their correction for many tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from taskdepth.errors import DataError

MIN_PAIRS = 4  # below, no order of the ranks is rare enough to mean anything


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman's ρ of `n` pairs, and the two-sided p-value of a permutation test; NaN where undefined."""

    rho: float
    p: float
    n: int


def spearman(
    x: Float[np.ndarray, " n"],
    y: Float[np.ndarray, " n"],
    *,
    n_permutations: int = 9999,
    seed: int = 0,
) -> RankCorrelation:
    """The correlation of ranks (ties share their mean rank) over the pairs where both are finite.

    p is the share of random pairings, the given one included, that correlate as strongly. Undefined
    with fewer than 4 pairs, or where all values of a side are the same.

    Raises:
        DataError: not two rows of the same length.

    >>> spearman(np.array([1.0, 2, 3, 4, 5]), np.array([1.0, 4, 9, 16, 25])).rho
    1.0
    """
    if x.shape != y.shape or x.ndim != 1:
        raise DataError(f"{x.shape} and {y.shape} are not pairs")
    both = np.isfinite(x) & np.isfinite(y)
    n = int(both.sum())
    a, b = (_standardised(_ranks(side[both])) for side in (x, y))
    if n < MIN_PAIRS or not a.any() or not b.any():
        return RankCorrelation(float("nan"), float("nan"), n)
    rho = float(np.clip(a @ b, -1, 1))
    generator = np.random.default_rng(seed)
    orders = generator.permuted(np.tile(np.arange(n), (n_permutations, 1)), axis=1)
    as_strong = int((abs(b[orders] @ a) >= abs(rho) - 1e-12).sum())
    return RankCorrelation(round(rho, 12), (1 + as_strong) / (1 + n_permutations), n)


def benjamini_hochberg(p: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Adjusted p-values: those up to q are found with a share of at most q of false ones among them.

    Holds for independent tests and for those that depend on one another positively, as neighbouring
    layers do. NaN is no test. Benjamini & Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x.

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03, np.nan])).round(3).tolist()
    [0.03, 0.04, 0.04, nan]
    """
    adjusted = np.full(p.shape, np.nan)
    tests = np.flatnonzero(np.isfinite(p))
    order = tests[np.argsort(p[tests])]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    # never above that of a larger p
    adjusted[order] = np.minimum.accumulate(scaled[::-1])[::-1].clip(max=1)
    return adjusted


def _ranks(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Ranks from 1; equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_rank: Float[np.ndarray, " values"] = np.cumsum(counts) - (counts - 1) / 2
    return mean_rank[place]


def _standardised(ranks: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Centred and of unit length; zeros where all ranks are the same."""
    if not len(ranks) or (ranks == ranks[0]).all():
        return np.zeros_like(ranks)
    centred: Float[np.ndarray, " n"] = ranks - ranks.mean()
    return centred / float(np.linalg.norm(centred))
