"""Intervals of paired differences: by hand, and how often they are right."""

import numpy as np
import pytest

from taskdepth.results.paired import PairedMeans


def values(rng, n_ways=3, n_seeds=3, n_tasks=20, task=1.0, seed=0.0, noise=0.1):
    """Ways that differ by nothing but noise; tasks and seeds have effects that all ways share."""
    return (
        task * rng.standard_normal((1, 1, n_tasks))
        + seed * rng.standard_normal((1, n_seeds, 1))
        + noise * rng.standard_normal((n_ways, n_seeds, n_tasks))
    )


def test_means_and_differences():
    found = values(np.random.default_rng(0))
    means = PairedMeans(found)
    np.testing.assert_allclose(means.means, found.mean(axis=(1, 2)))
    assert means.difference(0, 2).value == pytest.approx((found[0] - found[2]).mean())
    forth, back = means.difference(0, 2), means.difference(2, 0)
    assert (forth.lower, forth.upper) == pytest.approx((-back.upper, -back.lower))
    assert means.difference(1, 1).lower == means.difference(1, 1).upper == 0


def test_what_tasks_and_seeds_share_drops_out_of_differences():
    rng = np.random.default_rng(0)
    found = values(rng, task=100.0, seed=100.0)
    means = PairedMeans(found)
    difference, mean = means.difference(0, 1), means.mean(0)
    assert difference.upper - difference.lower < 0.2
    assert mean.upper - mean.lower > 50


def test_one_seed_is_the_ordinary_bootstrap_over_tasks():
    found = values(np.random.default_rng(0), n_seeds=1, n_tasks=50)
    difference = (found[0] - found[1])[0]
    half = 1.96 * difference.std() / np.sqrt(50)
    interval = PairedMeans(found).difference(0, 1)
    assert interval.lower == pytest.approx(difference.mean() - half, abs=0.15 * half)
    assert interval.upper == pytest.approx(difference.mean() + half, abs=0.15 * half)


def test_more_comparisons_make_wider_intervals():
    found = values(np.random.default_rng(0))
    widths = []
    for n in (1, 3, 12):
        interval = PairedMeans(found, n_comparisons=n).difference(0, 1)
        widths.append(interval.upper - interval.lower)
    assert widths[0] < widths[1] < widths[2]


@pytest.mark.parametrize("seed_noise", [0.0, 0.1])
def test_ways_that_are_alike_are_seldom_told_apart(seed_noise):
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(100):
        found = values(rng, n_ways=6, n_seeds=3, n_tasks=30, noise=0.2)
        found += (
            seed_noise * rng.standard_normal((6, 3, 1)) / 6
        )  # ways differ by seed, not for good
        means = PairedMeans(found, n_comparisons=5, n_draws=1000)
        wrong += any(means.difference(i, 0).excludes_zero for i in range(1, 6))
    assert wrong <= 12  # 5 are expected at most


def test_a_real_difference_is_seen():
    found = values(np.random.default_rng(3), n_ways=13, n_tasks=40)
    found[4] += 0.1
    means = PairedMeans(found, n_comparisons=12)
    assert all(means.difference(4, other).lower > 0 for other in range(13) if other != 4)
