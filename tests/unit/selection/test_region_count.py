"""The number of regions: that of planted ones, none for noise, none made up by bends."""

import numpy as np
import pytest

from planted_regions import KINDS, planted
from taskdepth import config
from taskdepth.selection import cuts, detect_regions, region_count, regions, rotations

WEAK = {
    ("lines", "slow, fast"),
    ("lines", "slow, fast, slow"),
}  # too little of a step for some noise


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, (shapes, _) in KINDS.items() for name in shapes]
)
def test_as_many_as_were_planted(kind, name):
    n_regions = len(KINDS[kind][0][name][0]) + 1
    signals = planted(kind, name, 32, 2, 0.01, np.random.default_rng(0))
    found = detect_regions(signals, None, n_bootstrap=1)
    allowed = {n_regions, n_regions - 1} if (kind, name) in WEAK else {n_regions}
    assert found.n_regions in allowed
    assert found.chosen
    # the same cut as that into a given number
    if found.found:
        asked = detect_regions(signals, found.n_regions, n_bootstrap=1)
        assert (asked.boundaries, asked.chosen) == (found.boundaries, False)


def test_few_layers_show_steps():
    rng = np.random.default_rng(0)
    for name, (shares, _) in KINDS["steps"][0].items():
        signals = planted("steps", name, 8, 4, 0.001, rng)
        assert detect_regions(signals, None, n_bootstrap=1).n_regions == len(shares) + 1


@pytest.mark.parametrize(
    ("n_signals", "n_layers", "slope", "n_seeds", "most"),
    [  # at the 1 % level, more than `most` have a chance of less than 0.1 %
        (1, 8, 0.0, 100, 5),
        (3, 12, 0.3, 40, 3),
        (4, 32, 0.3, 12, 2),
    ],
)
def test_lines_with_noise_have_no_regions(n_signals, n_layers, slope, n_seeds, most):
    rng = np.random.default_rng(0)
    found = []
    for seed in range(n_seeds):
        signals = rng.standard_normal((n_signals, n_layers)) + slope * np.arange(n_layers)
        signals += 2 * rng.standard_normal(n_layers)
        found.append(detect_regions(signals, None, n_bootstrap=1, seed=seed))
    assert sum(result.found for result in found) <= most
    none = next(result for result in found if not result.found)
    assert (none.n_regions, none.chosen, none.has("region_1")) == (1, True, False)
    assert "straight lines with noise" in none.reason
    assert np.mean([result.p_value for result in found]) == pytest.approx(0.5, abs=0.25)


def test_fewer_steps_may_explain_no_more_than_a_line_where_all_of_them_do():
    signals = planted("steps", "up, up, up", 16, 1, 0.01, np.random.default_rng(0))
    for n_regions in (2, 3):
        assert not detect_regions(signals, n_regions, n_bootstrap=1).found
    assert detect_regions(signals, None, n_bootstrap=1).n_regions == 4


def test_a_bend_without_noise_is_not_cut_ever_finer(monkeypatch):
    sigmoid = 1 / (1 + np.exp((np.arange(32) - 12) / 1.5))
    assert detect_regions(sigmoid[None], None, n_bootstrap=1).n_regions == 3
    monkeypatch.setattr(region_count, "SMALLEST_GAIN", 0.0)
    found = detect_regions(sigmoid[None], None, n_bootstrap=1)
    assert found.n_regions == region_count.MOST_REGIONS


@pytest.mark.parametrize(
    ("signals", "words"),
    [
        (np.full((3, 12), 0.7), "every signal is constant"),
        (np.empty((0, 12)), "every signal is constant"),
        (np.array([[0.0, 1.0]]), "2 layers are too few"),
        (np.arange(13.0)[None], "straight lines"),
        (np.array([[0.0, 1.0, 5.0]]), "straight lines"),
    ],
)
def test_none_for_a_reason(signals, words):
    found = detect_regions(signals, None)
    assert (found.found, found.n_regions, found.p_value) == (False, 1, 1)
    assert words in found.reason


def test_the_layers_after_the_unmoved_ones_are_counted_by_themselves():
    rng = np.random.default_rng(0)
    noise = 0.9 + 0.01 * rng.standard_normal((2, 20))
    noise[:, :6] = 1.0
    found = detect_regions(noise, None, n_bootstrap=5)
    assert (found.n_regions, found.boundaries) == (2, (6,))
    noise[:, 13:] -= 0.5
    found = detect_regions(noise, None, n_bootstrap=5)
    assert (found.n_regions, found.boundaries) == (3, (6, 13))
    noise[:, :5] += 0.01 * rng.standard_normal((2, 5))  # nothing is exact now, but somebody knows
    found = detect_regions(noise, None, identical=6, n_bootstrap=5)
    assert (found.n_regions, found.boundaries) == (3, (6, 13))


def test_costs_of_many_draws_are_those_of_each():
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((4, 3, 9))
    for price in (1.0, 0.02):
        together = cuts.least_costs(cuts.fit_runs(draws).costs(price), 4)
        for draw, least in zip(draws, together, strict=True):
            costs = cuts.fit_runs(draw).costs(price)
            for k in (1, 2, 3, 4):
                edges = [0, *cuts.best_cut(costs, k), 9]
                assert costs[edges[:-1], edges[1:]].sum() == pytest.approx(least[k - 1])


def test_rotations_keep_the_fit_and_what_signals_share():
    rng = np.random.default_rng(0)
    curves = rng.standard_normal((3, 10))
    basis = region_count._lines_basis([1, 5], 10)
    assert basis.shape == (10, 1 + 2 + 2)
    np.testing.assert_allclose(basis.T @ basis, np.eye(5), atol=1e-12)
    draws = rotations.rotated(curves, basis, 20, rng)
    left = curves - curves @ basis @ basis.T
    for draw in draws:
        np.testing.assert_allclose(draw @ basis, curves @ basis, atol=1e-12)
        rest = draw - draw @ basis @ basis.T
        np.testing.assert_allclose(rest @ rest.T, left @ left.T, atol=1e-12)
    spread = np.ptp(draws, axis=0)
    assert spread[:, 0].max() < 1e-12  # a region of one layer has no residual
    assert spread[:, 1:].min() > 0.1


def test_the_settings_know_the_names_and_the_number():
    assert config.schemas.REGION_NAMES == regions.NAMES
    assert config.schemas.MOST_REGIONS == region_count.MOST_REGIONS
