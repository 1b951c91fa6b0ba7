"""Planted steps are found exactly; noise, straight lines and constants are not."""

import inspect
from itertools import combinations

import numpy as np
import pytest
import ruptures
import torch

from taskdepth.errors import ConfigError, DataError
from taskdepth.selection import Regions, detect_regions, regions


def steps(n_layers, boundaries, levels):
    """One row per signal, constant within each region."""
    return np.repeat(np.array(levels, dtype=float), np.diff([0, *boundaries, n_layers]), axis=1)


def random_steps(n_layers, boundaries, n_signals, seed=0):
    rng = np.random.default_rng([seed, n_layers, *boundaries, n_signals])
    return steps(n_layers, boundaries, rng.standard_normal((n_signals, len(boundaries) + 1)))


def all_cuts(n_layers):
    return [(n_layers, cut) for cut in combinations(range(1, n_layers), 2)]


@pytest.fixture
def few_rotations(monkeypatch):
    """Enough for a test at the 1 % level, ten times as fast."""
    monkeypatch.setattr(regions, "N_ROTATIONS", 99)


@pytest.mark.usefixtures("few_rotations")
@pytest.mark.parametrize("n_signals", [1, 2, 3, 12])
@pytest.mark.parametrize(
    ("n_layers", "boundaries"),
    [
        *all_cuts(4),
        *all_cuts(6),
        *((12, cut) for cut in [(1, 2), (1, 11), (5, 6), (10, 11), (4, 8)]),
        *((32, cut) for cut in [(9, 15), (1, 2), (1, 31), (30, 31), (2, 30), (16, 17)]),
        *((80, cut) for cut in [(1, 79), (20, 45)]),
    ],
)
def test_planted_steps_are_found_exactly(n_layers, boundaries, n_signals):
    result = detect_regions(random_steps(n_layers, boundaries, n_signals), n_bootstrap=10)
    assert (result.found, result.boundaries, result.reason) == (True, boundaries, "")
    assert result.n_layers == n_layers
    assert result.p_value <= regions.LEVEL


@pytest.mark.usefixtures("few_rotations")
@pytest.mark.parametrize(
    ("n_layers", "boundaries"),
    [(4, (2,)), (24, (1,)), (24, (23,)), (10, (2, 5, 7)), (30, (1, 4, 10, 29))],
)
def test_any_number_of_regions(n_layers, boundaries):
    signals = random_steps(n_layers, boundaries, 3)
    result = detect_regions(signals, n_regions=len(boundaries) + 1, n_bootstrap=5)
    assert result.boundaries == boundaries
    assert result.names == tuple(f"region_{k}" for k in range(1, len(boundaries) + 2))


def test_what_a_result_says():
    levels = [[0.3, 0.6, 0.9], [0.2, 0.8, 0.1]]
    result = detect_regions(steps(32, (9, 15), levels))
    assert result.boundaries == (9, 15)
    assert result.intervals == ((9, 9), (15, 15))
    assert result.names == ("shared", "transition", "refinement")
    assert [result.layers(name) for name in result.names] == [
        range(1, 10),
        range(10, 16),
        range(16, 33),
    ]
    assert all(type(boundary) is int for boundary in result.boundaries)


def test_tensors_of_any_float_and_arrays_give_the_same():
    signals = random_steps(16, (4, 9), 3)
    expected = detect_regions(signals)
    assert detect_regions(torch.from_numpy(signals)) == expected
    assert detect_regions(torch.from_numpy(signals).float()).boundaries == expected.boundaries
    assert detect_regions(torch.from_numpy(signals).bfloat16()).boundaries == expected.boundaries


def test_the_scale_of_a_signal_does_not_matter():
    rng = np.random.default_rng(0)
    signals = random_steps(20, (5, 12), 4) + 0.2 * rng.standard_normal((4, 20))
    scaled = 1000 + signals * np.array([[1e-3], [1.0], [-50.0], [1e4]])
    assert detect_regions(scaled).boundaries == detect_regions(signals).boundaries


def unexplained(curves, cut, price):
    """What straight lines in each part leave over, and `price` of what their slopes explain."""
    total, starts = 0.0, [0, *cut]
    for start, end in zip(starts, [*cut, curves.shape[1]], strict=True):
        for curve in curves[:, start:end]:
            level = ((curve - curve.mean()) ** 2).sum()
            line = np.polynomial.Polynomial.fit(
                np.arange(len(curve)), curve, min(1, len(curve) - 1)
            )
            left = ((curve - line(np.arange(len(curve)))) ** 2).sum()
            total += left + price * (level - left)
    return total


@pytest.mark.parametrize("n_regions", [2, 3, 4])
def test_the_cut_is_the_optimum_of_an_exhaustive_search(n_regions):
    rng = np.random.default_rng(0)
    for _ in range(4):
        curves = regions._standardised(rng.standard_normal((3, 9)))
        cuts = list(combinations(range(1, 9), n_regions - 1))
        price = regions.SLOPE_PRICE
        best = min(cuts, key=lambda cut: unexplained(curves, cut, price))
        assert regions._boundaries(curves, n_regions) == best
        # levels: as much is explained as is not left over
        least = min(unexplained(curves, cut, 1.0) for cut in cuts)
        assert regions._explained(curves, n_regions) == pytest.approx((curves**2).sum() - least)
        dynp = ruptures.Dynp(model="l2", min_size=1, jump=1).fit_predict(curves.T, n_regions - 1)
        assert regions._level_ends(curves, n_regions) == dynp[:-1]


def clusters_of_a_7b_model(seed, noise, drift, width):
    """12 clusters over 32 layers: a slow rise, a steep change in layers 10-15, then calm."""
    rng = np.random.default_rng(seed)
    layer = np.arange(1, 33)
    middle = 12.5 + rng.normal(0, 0.3, (12, 1))
    rise = rng.uniform(0.3, 0.6, (12, 1)) / (1 + np.exp(-(layer - middle) / width))
    curves = rng.uniform(0.2, 0.4, (12, 1)) + rise + drift * layer / 32
    return curves + noise * rng.standard_normal((12, 32))


@pytest.mark.usefixtures("few_rotations")
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("noise", "drift", "width"), [(0.0, 0.05, 2.0), (0.02, 0.1, 2.0), (0.03, 0.1, 1.7)]
)
def test_smooth_curves_like_published_ones(seed, noise, drift, width):
    result = detect_regions(clusters_of_a_7b_model(seed, noise, drift, width), n_bootstrap=50)
    assert result.found
    assert np.abs(np.subtract(result.boundaries, (9, 15))).max() <= 1
    for boundary, (low, high) in zip(result.boundaries, result.intervals, strict=True):
        assert boundary - 3 <= low <= boundary <= high <= boundary + 3


LAYERS_7B = np.arange(1, 33)


def bent(layers, levels):
    """Straight between `layers`; levels are relative: 1 is the highest, 0 the lowest."""
    return np.interp(LAYERS_7B, layers, levels)


# Ways in which a 32-layer model may have shared layers 1-9, transition 10-15, refinement 16-32
SHAPES_7B = {
    "steps": np.repeat([1.0, 0.4, 0.0], [9, 6, 17]),
    "up, then half down": np.repeat([0.0, 1.0, 0.5], [9, 6, 17]),
    "steps on a slope": np.repeat([1.0, 0.4, 0.0], [9, 6, 17]) - LAYERS_7B / 320,
    "fall": bent([9.5, 15.5], [1, 0]),
    "fall that ends at 15": bent([9, 15], [1, 0]),
    "fall that ends at 16": bent([9, 16], [1, 0]),
    "slow, fast, slow": bent([1, 9.5, 15.5, 32], [1, 0.9, 0.2, 0]),
    "slow, fast, back up": bent([1, 9.5, 15.5, 32], [1, 0.95, 0, 0.4]),
    "sigmoid": 1 / (1 + np.exp((LAYERS_7B - 12.5) / 1.5)),
}


@pytest.mark.usefixtures("few_rotations")
@pytest.mark.parametrize("n_signals", [1, 4])
@pytest.mark.parametrize("shape", SHAPES_7B)
def test_regions_of_a_7b_model_whatever_the_shape_of_its_curves(shape, n_signals):
    for seed, noise in enumerate([0.0, 0.01, 0.02, 0.02]):
        rng = np.random.default_rng([seed, n_signals])
        scale, offset = rng.uniform(0.3, 0.6, (2, n_signals, 1))
        curve = SHAPES_7B[shape] + noise * rng.standard_normal((n_signals, 32))
        found = detect_regions(offset + scale * curve, n_bootstrap=1)
        assert found.found
        assert np.abs(np.subtract(found.boundaries, (9, 15))).max() <= 1
        if "steps" in shape or "down" in shape:
            assert found.boundaries == (9, 15)


@pytest.mark.parametrize("shape", SHAPES_7B)
def test_the_curves_of_a_7b_model_show_three_regions(shape):
    curve = SHAPES_7B[shape] + 0.01 * np.random.default_rng(0).standard_normal((1, 32))
    found = detect_regions(curve, None, n_bootstrap=1)
    assert (found.n_regions, found.names) == (3, regions.NAMES)
    assert np.abs(np.subtract(found.boundaries, (9, 15))).max() <= 1


def test_values_read_off_a_page_start_no_region_by_their_ties():
    curve = np.round(bent([1, 9.5, 15.5, 32], [1, 0.97, 0.2, 0]), 2)
    assert curve[0] == pytest.approx(curve[1], abs=0.01)
    tied = np.concatenate([[1.0, 1.0], curve[2:]])[None]
    found = detect_regions(tied, n_bootstrap=1).boundaries
    assert np.abs(np.subtract(found, (9, 15))).max() <= 1


@pytest.mark.parametrize("end", [2, 3, 6, 10])
@pytest.mark.parametrize("n_regions", [2, 3])
def test_what_does_not_move_at_all_is_the_first_region(end, n_regions):
    """However gently the curves depart from it, and though a line with noise looks much the same."""
    depart = -1e-4 * np.arange(13 - end) ** 1.3
    signals = np.stack([np.concatenate([np.ones(end), 1 + depart[1:]]), np.zeros(12)])
    signals[1, end:] = -depart[1:]
    found = detect_regions(signals, n_regions, n_bootstrap=5)
    assert found.found
    assert found.boundaries[0] == end
    assert found.intervals[0] == (end, end)
    moved = signals + 1e-6 * np.random.default_rng(0).standard_normal(signals.shape)
    assert regions._unmoved(moved) == 0


@pytest.mark.usefixtures("few_rotations")
@pytest.mark.parametrize(
    ("n_signals", "n_layers", "slope", "shared", "n_seeds", "most"),
    [  # at the 1 % level, more than `most` have a chance of less than 0.1 %
        (3, 12, 0.0, False, 200, 8),
        (1, 8, 0.3, True, 60, 4),
        (3, 32, 0.3, True, 60, 4),
    ],
)
def test_lines_with_noise_are_seldom_taken_for_regions(
    n_signals, n_layers, slope, shared, n_seeds, most
):
    rng = np.random.default_rng(0)
    found = 0
    for seed in range(n_seeds):
        signals = rng.standard_normal((n_signals, n_layers)) + slope * np.arange(n_layers)
        if shared:  # signals that are computed from the same tasks are not independent
            signals += 2 * rng.standard_normal(n_layers)
        found += detect_regions(signals, n_bootstrap=1, seed=seed).found
    assert found <= most


@pytest.mark.usefixtures("few_rotations")
def test_p_values_of_noise_are_uniform():
    rng = np.random.default_rng(1)
    signals = rng.standard_normal((120, 3, 12))
    p_values = [detect_regions(one, n_bootstrap=1).p_value for one in signals]
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.07)
    assert np.quantile(p_values, 0.2) == pytest.approx(0.2, abs=0.09)


@pytest.mark.parametrize(
    ("signals", "words"),
    [
        (np.full((3, 12), 0.7), "every signal is constant"),
        (1 + 1e-15 * np.random.default_rng(0).standard_normal((3, 12)), "every signal is constant"),
        (np.full((2, 12), np.nan), "undefined"),
        (np.empty((0, 12)), "every signal"),
        *((0.1 + np.arange(n)[None] / 3, "straight lines") for n in (4, 5, 8, 13, 32, 80)),
        (np.arange(32.0)[None] * np.array([[0.1], [-3.0], [1e3]]), "straight lines"),
        (np.array([[0.0, 1.0, 5.0]]), "3 layers are too few to tell 3 regions apart"),
        (np.array([[0.0]]), "1 layers are too few"),
    ],
)
def test_no_evidence_no_regions(signals, words):
    result = detect_regions(signals)
    assert not result.found
    assert (result.boundaries, result.intervals) == ((), ())
    assert result.p_value == 1
    assert words in result.reason
    assert result.n_layers == signals.shape[1]
    with pytest.raises(ConfigError, match="no region 'transition' was found: "):
        result.layers("transition")


@pytest.mark.parametrize("junk", [np.nan, np.inf])
def test_signals_that_are_undefined_anywhere_have_no_say(junk):
    signals = random_steps(16, (4, 9), 3)
    broken = random_steps(16, (7, 12), 2, seed=1) * 100
    broken[0, 3], broken[1, 15] = junk, junk
    constant = np.full((1, 16), 0.4)
    result = detect_regions(np.concatenate([broken, signals, constant]))
    assert result == detect_regions(signals)


def test_intervals_of_signals_that_disagree():
    early, late = steps(20, (4, 12), [[0, 1, 2]]), steps(20, (8, 12), [[0, 1, 2]])
    agreed = detect_regions(np.concatenate([early] * 6))
    assert agreed.intervals == ((4, 4), (12, 12))
    (low, high), second = detect_regions(np.concatenate([early] * 3 + [late] * 3)).intervals
    assert (low, high) == (4, 8)
    assert second == (12, 12)


def test_intervals_of_resampled_signals():
    signals = steps(20, (6, 12), [[0, 1, 2]])
    drawn = [steps(20, (first, 12), [[0, 1, 2]]) for first in [5] * 10 + [6] * 80 + [9] * 10]
    undefined = np.full((1, 20), np.nan)  # such a draw says nothing
    result = detect_regions(signals, resampled=np.stack([*drawn, undefined]))
    assert (result.boundaries, result.intervals) == ((6, 12), ((5, 9), (12, 12)))
    # rare draws are outside the 95 % range
    rare = np.stack([steps(20, (2, 12), [[0, 1, 2]]), *drawn[10:90]])
    assert detect_regions(signals, resampled=rare).intervals == ((6, 6), (12, 12))
    # a boundary is never outside its own interval
    elsewhere = np.stack(drawn[-10:] * 10)
    assert detect_regions(signals, resampled=elsewhere).intervals == ((6, 9), (12, 12))
    # and no layer between two draws is made up
    few = np.stack([*drawn[10:90], *drawn[10:26], *drawn[-3:]])
    assert detect_regions(signals, resampled=few).intervals == ((6, 9), (12, 12))


def test_resampled_signals_are_standardised_like_the_signals():
    rng = np.random.default_rng(0)
    signals = random_steps(20, (6, 12), 2)
    drawn = signals + rng.standard_normal((50, 2, 20)) * [[0.1], [3.0]]
    scaled = drawn * [[1000.0], [0.001]] + 5
    result = detect_regions(signals, resampled=drawn)
    assert detect_regions(signals, resampled=scaled) == result
    assert result.intervals != ((6, 6), (12, 12))


def test_the_seed_decides():
    signals = clusters_of_a_7b_model(0, 0.1, 0.1, 2.0)
    assert detect_regions(signals, seed=3) == detect_regions(signals, seed=3)


def test_refuses():
    # where shapes are checked by type, that check would speak first
    unchecked = inspect.unwrap(detect_regions)
    with pytest.raises(ConfigError, match="n_regions=1"):
        detect_regions(np.zeros((2, 8)), n_regions=1)
    with pytest.raises(DataError, match=r"signals must be \[n_signals, n_layers\]"):
        unchecked(np.zeros(8))
    with pytest.raises(DataError, match=r"resampled .* \[5, 2, 7\]"):
        unchecked(np.zeros((2, 8)), resampled=np.zeros((5, 2, 7)))
    with pytest.raises(ConfigError, match="unknown region 'transitoin': did you mean transition"):
        Regions(8, 3, True, 0.01, (2, 5), ((2, 2), (5, 5))).layers("transitoin")


@pytest.mark.parametrize(
    ("found", "boundaries", "intervals"),
    [
        (True, (5, 2), ((5, 5), (2, 2))),
        (True, (2, 8), ((2, 2), (8, 8))),
        (True, (0, 5), ((0, 0), (5, 5))),
        (True, (2,), ((2, 2),)),
        (True, (2, 5), ((2, 2),)),
        (False, (2, 5), ((2, 2), (5, 5))),
    ],
)
def test_boundaries_must_cut_the_layers(found, boundaries, intervals):
    with pytest.raises(ConfigError, match="do not cut 8 layers into 3 regions"):
        Regions(8, 3, found, 0.01, boundaries, intervals)
