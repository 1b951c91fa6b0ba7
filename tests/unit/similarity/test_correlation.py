"""Rank correlation and its correction against scipy."""

from itertools import permutations

import numpy as np
import pytest
import scipy.stats

from taskdepth.errors import DataError
from taskdepth.similarity.correlation import benjamini_hochberg, spearman


def pairs(n, seed=0, *, ties=False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = x + rng.normal(size=n)
    return (x.round(), y.round()) if ties else (x, y)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [5, 30, 69])
def test_rho_equals_scipy(n, ties):
    x, y = pairs(n, ties=ties)
    found = spearman(x, y, n_permutations=99)
    assert found.rho == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-11)
    assert found.n == n


def test_p_is_near_the_share_of_all_orders():
    x, y = pairs(6, seed=3)
    rho = scipy.stats.spearmanr(x, y).statistic
    every = [scipy.stats.spearmanr(x, order).statistic for order in permutations(y)]
    exact = np.mean(np.abs(every) >= abs(rho) - 1e-12)
    assert spearman(x, y, n_permutations=20_000).p == pytest.approx(exact, abs=0.01)


def test_p_is_near_that_of_the_t_distribution():
    x, y = pairs(60, seed=1)
    y = y + 2.5 * np.random.default_rng(5).normal(size=60)
    expected = scipy.stats.spearmanr(x, y).pvalue
    assert 0.005 < expected < 0.5
    assert spearman(x, y).p == pytest.approx(expected, abs=0.02)


def test_p_of_unrelated_sides_is_uniform():
    rng = np.random.default_rng(0)
    p = [
        spearman(rng.normal(size=20), rng.normal(size=20), n_permutations=199, seed=s).p
        for s in range(200)
    ]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01
    assert min(p) >= 1 / 200


def test_only_pairs_that_are_whole_count():
    x, y = pairs(12)
    holed_x, holed_y = x.copy(), y.copy()
    holed_x[3], holed_y[5] = np.nan, np.inf
    keep = [i for i in range(12) if i not in (3, 5)]
    assert spearman(holed_x, holed_y, seed=4) == spearman(x[keep], y[keep], seed=4)


@pytest.mark.parametrize(
    ("x", "y", "n"),
    [([1, 2, 3], [1, 2, 3], 3), ([1] * 6, range(6), 6), (range(6), [2] * 6, 6), ([], [], 0)],
)
def test_undefined(x, y, n):
    found = spearman(np.array(x, float), np.array(y, float))
    assert np.isnan([found.rho, found.p]).all()
    assert found.n == n


def test_refuses():
    with pytest.raises(DataError, match="are not pairs"):
        spearman(np.ones(3), np.ones(4))


@pytest.mark.parametrize("n", [1, 2, 50])
def test_correction_equals_scipy(n):
    p = np.random.default_rng(n).uniform(size=n) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), scipy.stats.false_discovery_control(p))


def test_what_is_no_test_is_not_counted():
    p = np.array([0.01, np.nan, 0.02, np.nan])
    np.testing.assert_allclose(benjamini_hochberg(p), [0.02, np.nan, 0.02, np.nan])
    assert benjamini_hochberg(np.array([])).shape == (0,)
