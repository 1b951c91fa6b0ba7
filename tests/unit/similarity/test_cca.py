"""Canonical correlations against published numbers, scikit-learn, and a term-by-term definition."""

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.cross_decomposition import CCA

from taskdepth.similarity import mean_squared_cca, pwcca, svcca


def sides(n, p, q, seed=0):
    state = np.random.RandomState(seed)
    shared = state.randn(n, 2)
    x = shared @ state.randn(2, p) + state.randn(n, p)
    return x, shared @ state.randn(2, q) + state.randn(n, q) + 3


def canonical(x, y):
    """Correlations and the variates of x, by scipy's own orthonormal bases."""
    x, y = x - x.mean(0), y - y.mean(0)
    basis_x, basis_y = scipy.linalg.orth(x), scipy.linalg.orth(y)
    turn, correlations, _ = scipy.linalg.svd(basis_x.T @ basis_y, full_matrices=False)
    return correlations, basis_x @ turn


def leading(x, share):
    """The scores on the fewest principal components that hold this share of the variance."""
    u, s, _ = scipy.linalg.svd(x - x.mean(0), full_matrices=False)
    k = next(k for k in range(1, len(s) + 1) if (s[:k] ** 2).sum() >= share * (s**2).sum())
    return u[:, :k] * s[:k]


def test_published_number():
    state = np.random.RandomState(1337)
    x = state.randn(100, 10)
    y = state.randn(100, 10) + x
    value = mean_squared_cca(torch.from_numpy(x), torch.from_numpy(y), centre=False)
    assert float(value) == pytest.approx(0.5431238559305234, rel=1e-12)


@pytest.mark.parametrize(("n", "p", "q"), [(40, 3, 5), (60, 5, 2)])
def test_equals_sklearn(n, p, q):
    x, y = sides(n, p, q)
    k = min(p, q)
    scores = CCA(n_components=k, max_iter=5000, tol=1e-12).fit_transform(x, y)
    rho = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(*(s.T for s in scores), strict=True)])
    assert float(mean_squared_cca(torch.from_numpy(x), torch.from_numpy(y))) == pytest.approx(
        (rho**2).mean(), rel=1e-6
    )


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_svcca_is_cca_of_the_leading_components(share):
    x, y = sides(50, 12, 9)
    rho, _ = canonical(leading(x, share), leading(y, share))
    value = svcca(torch.from_numpy(x), torch.from_numpy(y), share=share)
    assert float(value) == pytest.approx(rho.mean(), rel=1e-10)


@pytest.mark.parametrize(("n", "p", "q"), [(40, 3, 6), (40, 6, 3)])
def test_pwcca_equals_its_definition(n, p, q):
    x, y = sides(n, p, q)
    rho, variates = canonical(x, y)
    columns = (x - x.mean(0)).T
    alpha = [sum(abs(variate @ column) for column in columns) for variate in variates.T]
    assert float(pwcca(torch.from_numpy(x), torch.from_numpy(y))) == pytest.approx(
        np.average(rho, weights=alpha), rel=1e-10
    )


def test_pwcca_is_invariant_to_invertible_maps_of_its_second_side():
    x, y = (torch.from_numpy(side) for side in sides(40, 4, 6))
    mapped = y @ torch.from_numpy(np.random.RandomState(5).randn(6, 6))
    assert float(pwcca(x, mapped)) == pytest.approx(float(pwcca(x, y)), rel=1e-9)


def test_repeated_columns_are_one_dimension():
    x, y = (torch.from_numpy(side) for side in sides(30, 3, 4))
    repeated = torch.cat([x, x[:, :2] + x[:, 1:]], dim=1)
    assert float(mean_squared_cca(repeated, y)) == pytest.approx(float(mean_squared_cca(x, y)))


@pytest.mark.parametrize("measure", [mean_squared_cca, svcca, pwcca])
@pytest.mark.parametrize(("n", "p", "defined"), [(8, 6, True), (8, 7, False), (8, 30, False)])
def test_undefined_where_one_side_spans_everything(measure, n, p, defined):
    """White noise has no leading components that SVCCA could confine itself to."""
    x, y = (torch.from_numpy(side) for side in sides(n, p, 2))
    x = torch.linalg.svd(x - x.mean(0), full_matrices=False).U
    assert measure(x, y).isfinite() == defined
    assert measure(y, x).isfinite() == defined
    uncentred = mean_squared_cca(torch.randn(8, p), y, centre=False)
    assert uncentred.isfinite() == (p < 8)


def test_svcca_is_defined_where_few_dimensions_hold_the_variance():
    x, y = (torch.from_numpy(side) for side in sides(20, 40, 3))
    x = x * torch.logspace(0, -6, 40, dtype=x.dtype)
    assert svcca(x, y).isfinite()
    assert mean_squared_cca(x, y).isnan()
