"""Measures against published numbers, rsatoolbox, their definitions, and declared properties."""

import inspect

import numpy as np
import pytest
import torch
from rsatoolbox.rdm import RDMs, compare
from scipy.spatial.distance import pdist, squareform

from taskdepth.errors import DataError
from taskdepth.similarity import debiased_cka, linear_cka, rbf_cka

MEASURES = [linear_cka, debiased_cka, rbf_cka]


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated(n, p, q, seed=0):
    """Two sides that share something: every measure lies well inside (0, 1)."""
    shared = randn(n, 5, seed=seed)
    x = shared @ randn(5, p, seed=seed + 1) + 2 * randn(n, p, seed=seed + 2)
    y = shared @ randn(5, q, seed=seed + 3) + 2 * randn(n, q, seed=seed + 4)
    return x, y


# the definitions, term by term, in numpy


def hsic(K, L):
    h = np.eye(len(K)) - 1 / len(K)
    return np.trace(K @ h @ L @ h)


def song_hsic(K, L):
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    m, one = len(K), np.ones(len(K))
    terms = (
        np.trace(K @ L),
        (one @ K @ one) * (one @ L @ one) / ((m - 1) * (m - 2)),
        -2 / (m - 2) * (one @ K @ L @ one),
    )
    return sum(terms) / (m * (m - 3))


def linear_kernel(x):
    return x @ x.T


def rbf_kernel(x):
    squared = squareform(pdist(x, "sqeuclidean"))
    return np.exp(-squared / (2 * 0.5**2 * np.median(squared)))


DEFINITIONS = {
    linear_cka: (linear_kernel, hsic),
    debiased_cka: (linear_kernel, song_hsic),
    rbf_cka: (rbf_kernel, hsic),
}


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        # the notebook of Kornblith et al. 2019
        (linear_cka, 0.5576132566117589),
        (debiased_cka, 0.513456489505526),
        (rbf_cka, 0.6548311822614982),
    ],
)
def test_published_number(measure, expected):
    state = np.random.RandomState(1337)
    x = state.randn(100, 10)
    y = state.randn(100, 10) + x
    value = measure(torch.from_numpy(x), torch.from_numpy(y))
    assert value.shape == ()
    assert value.dtype == torch.float64
    assert float(value) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("n", "p", "q"), [(4, 3, 2), (5, 40, 3), (30, 7, 11), (31, 7, 40), (30, 1, 1)]
)
def test_equals_its_definition(measure, n, p, q):
    x, y = correlated(n, p, q)
    kernel, estimator = DEFINITIONS[measure]
    K, L = kernel(x.numpy()), kernel(y.numpy())
    expected = estimator(K, L) / np.sqrt(estimator(K, K) * estimator(L, L))
    assert float(measure(x, y)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("n", "p", "q"), [(12, 4, 6), (9, 20, 3)])
def test_linear_cka_equals_rsatoolbox_cosine_cov(n, p, q):
    x, y = correlated(n, p, q)
    rdm_x, rdm_y = (RDMs(pdist(side.numpy(), "sqeuclidean")[None]) for side in (x, y))
    expected = compare(rdm_x, rdm_y, method="cosine_cov").item()
    assert float(linear_cka(x, y)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("measure", MEASURES)
def test_gram_and_feature_form_agree(measure):
    x, y = correlated(20, 6, 8)
    padded = torch.cat([x, torch.zeros(20, 30, dtype=x.dtype)], dim=1)  # wider than n: Gram form
    assert float(measure(padded, y)) == pytest.approx(float(measure(x, y)), rel=1e-12)


def rotated(x):
    return x @ torch.linalg.qr(randn(x.shape[1], x.shape[1], seed=9)).Q


def stretched(x):
    return x * torch.logspace(0, 2, x.shape[1], dtype=x.dtype)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("change", "invariant"),
    [
        (rotated, True),
        (lambda x: -3.7 * x, True),
        (lambda x: x + 100 * randn(x.shape[1], seed=8), True),
        (lambda x: x.flip(1), True),
        (stretched, False),  # invertible, linear, but not orthogonal
    ],
    ids=["rotation", "scaling", "translation", "reordered_features", "stretching"],
)
def test_declared_invariances(measure, change, invariant):
    x, y = correlated(25, 6, 9)
    before, after = float(measure(x, y)), float(measure(change(x), y))
    if invariant:
        assert after == pytest.approx(before, rel=1e-9)
        assert float(measure(change(x), x)) == pytest.approx(1, rel=1e-9)
    else:
        assert abs(after - before) > 0.01


@pytest.mark.parametrize("measure", MEASURES)
def test_symmetric_bounded_and_blind_to_the_order_of_examples(measure):
    for seed in range(6):
        x, y = correlated(8, 5, 30, seed)
        order = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
        value = float(measure(x, y))
        assert (-1 if measure is debiased_cka else 0) <= value <= 1
        assert float(measure(y, x)) == pytest.approx(value, rel=1e-9)
        assert float(measure(x[order], y[order])) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(("n", "p"), [(20, 200), (100, 50), (300, 20)])
def test_chance_floor_of_independent_data(n, p):
    pairs = [(randn(n, p, seed=seed), randn(n, p, seed=1000 + seed)) for seed in range(24)]
    linear = np.mean([float(linear_cka(x, y)) for x, y in pairs])
    debiased = [float(debiased_cka(x, y)) for x, y in pairs]
    assert linear == pytest.approx(p / (p + n - 1), rel=0.03)  # white noise: gamma is its width
    assert abs(np.mean(debiased)) < 4 * np.std(debiased) / np.sqrt(len(debiased))
    assert np.std(debiased) < 0.1


@pytest.mark.parametrize("measure", MEASURES)
def test_large_common_offset_costs_nothing(measure):
    """Massive dimensions: all rows share a vector of norm 3e4, in float32."""
    x, y = correlated(40, 16, 16)
    offset = torch.zeros(16)
    offset[3] = 3e4
    x = x.float() + offset
    exact = torch.from_numpy((x.numpy().astype(np.longdouble) - 3e4 * np.eye(16)[3]).astype(float))
    expected = float(measure(exact, y))
    assert float(measure(x, y)) == pytest.approx(expected, rel=1e-9)
    # the test would notice: the plain way in float32 loses whole digits
    h = torch.eye(40) - 1 / 40
    K, L = h @ (x @ x.T) @ h, h @ (y @ y.T).float() @ h
    naive = (K * L).sum() / (K.norm() * L.norm())
    assert abs(float(naive) - float(linear_cka(exact, y))) > 1e-3


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    "constant",
    [
        torch.zeros(6, 3),
        torch.full((6, 3), 0.1, dtype=torch.float64),  # the mean of six is not exactly this
        torch.tensor([3e4, 0.1, 1e-7]).repeat(6, 1),
    ],
)
def test_zero_variance_is_undefined_not_zero(measure, constant):
    assert measure(constant, randn(6, 4)).isnan()
    assert measure(randn(6, 4), constant).isnan()
    assert measure(constant, constant).isnan()


def test_equidistant_rows_leave_debiased_cka_undefined():
    x, y = torch.eye(8), randn(8, 3)
    assert debiased_cka(x, y).isnan()
    assert linear_cka(x, y).isfinite()


def test_rbf_cka_is_undefined_where_the_median_distance_is_zero():
    x = torch.zeros(8, 2)
    x[0] = 1
    assert rbf_cka(x, randn(8, 2)).isnan()
    assert linear_cka(x, randn(8, 2)).isfinite()


@pytest.mark.parametrize("measure", MEASURES)
def test_not_finite_in_not_finite_out(measure):
    x, y = correlated(8, 3, 3)
    x[2, 1] = torch.nan
    assert measure(x, y).isnan()


@pytest.mark.parametrize(
    ("measure", "shape_x", "shape_y", "words"),
    [
        (linear_cka, (5, 2), (6, 2), "same examples"),
        (debiased_cka, (5, 2), (6, 2), "same examples"),
        (rbf_cka, (5, 2), (6, 2), "same examples"),
        (linear_cka, (5,), (5,), "matrices"),
        (debiased_cka, (3, 2), (3, 2), "3 examples are too few: this measure needs 4"),
        (linear_cka, (1, 2), (1, 2), "needs 2"),
        (rbf_cka, (0, 2), (0, 2), "needs 2"),
    ],
)
def test_refuses(measure, shape_x, shape_y, words):
    # unwrapped: where shapes are checked by type, that check would speak first
    with pytest.raises(DataError, match=words):
        inspect.unwrap(measure)(randn(*shape_x), randn(*shape_y))


def test_half_precision_input_is_raised_first():
    x, y = correlated(12, 4, 4)
    x = x.to(torch.float16)
    assert float(linear_cka(x, y)) == float(linear_cka(x.double(), y))
    assert float(debiased_cka(x.to(torch.bfloat16), y)) == pytest.approx(
        float(debiased_cka(x, y)), abs=0.01
    )
