"""One representation's geometry against scikit-learn and closed forms."""

import inspect

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity

from taskdepth.errors import DataError
from taskdepth.similarity import (
    anisotropy,
    dimensions_for_variance,
    geometry_of,
    participation_ratio,
    top_dimensions_share,
)

GEOMETRY = [dimensions_for_variance, participation_ratio, anisotropy, top_dimensions_share]


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@pytest.mark.parametrize(("n", "p"), [(40, 12), (12, 40)])
def test_dimensions_equal_sklearn(n, p, share):
    x = randn(n, p) * torch.logspace(0, -2, p) + 7
    expected = PCA(share, svd_solver="full").fit(x.numpy()).n_components_
    assert float(dimensions_for_variance(x, share=share)) == expected


def test_all_of_the_variance_is_the_rank():
    x = randn(30, 4) @ randn(4, 12, seed=1)
    assert float(dimensions_for_variance(x, share=1.0)) == 4


@pytest.mark.parametrize(("n", "p"), [(40, 12), (12, 40)])
def test_participation_ratio_equals_its_definition(n, p):
    x = randn(n, p) * torch.logspace(0, -1, p) - 3
    eigenvalues = np.linalg.eigvalsh(np.cov(x.numpy(), rowvar=False))
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert float(participation_ratio(x)) == pytest.approx(expected, rel=1e-10)
    assert 1 <= float(participation_ratio(x)) <= min(n - 1, p)


def test_white_rows_participate_in_all_dimensions():
    assert float(participation_ratio(torch.eye(9))) == pytest.approx(8)


def test_anisotropy_equals_the_mean_cosine_without_self_pairs():
    x = randn(15, 6) + 1
    cosines = cosine_similarity(x.numpy())
    expected = cosines[~np.eye(15, dtype=bool)].mean()
    assert float(anisotropy(x)) == pytest.approx(expected, rel=1e-10)
    assert float(anisotropy(x[:1].repeat(4, 1))) == pytest.approx(1)
    assert float(anisotropy(torch.tensor([[1.0, 0], [-2, 0]]))) == pytest.approx(-1)


def test_undefined():
    same = torch.full((6, 4), 0.1)
    assert dimensions_for_variance(same).isnan()
    assert participation_ratio(same).isnan()
    assert top_dimensions_share(same).isnan()
    x = randn(6, 4)
    x[2] = 0
    assert anisotropy(x).isnan()
    x[2, 1] = torch.nan
    assert all(measure(x).isnan() for measure in GEOMETRY)


@pytest.mark.parametrize("measure", GEOMETRY)
@pytest.mark.parametrize("shape", [(1, 4), (4,), (2, 3, 4), (0, 4)])
def test_refuses_other_shapes(measure, shape):
    # unwrapped: where shapes are checked by type, that check would speak first
    with pytest.raises(DataError, match="2 rows or more"):
        inspect.unwrap(measure)(randn(*shape))


@pytest.mark.parametrize("share", [0.0, 1.01])
def test_refuses_a_share_that_is_none(share):
    with pytest.raises(DataError, match="share"):
        dimensions_for_variance(randn(5, 3), share=share)


@pytest.mark.parametrize("n_top", [1, 3])
def test_top_dimensions_hold_their_share_of_the_variance(n_top):
    x = randn(30, 9) * torch.tensor([1, 1, 20, 1, 9, 1, 1, 5, 1]) + 100
    variances = np.sort(x.numpy().var(axis=0))
    expected = variances[-n_top:].sum() / variances.sum()
    assert float(top_dimensions_share(x, n_top=n_top)) == pytest.approx(expected, rel=1e-10)


def test_a_share_of_no_dimensions_is_refused():
    with pytest.raises(DataError, match="n_top must be at least 1"):
        top_dimensions_share(randn(5, 3), n_top=0)


@pytest.mark.parametrize(("n", "p"), [(40, 12), (12, 40)])
def test_all_at_once_equals_one_at_a_time(n, p):
    x = randn(n, p) * torch.logspace(0, -2, p) + 3
    found = geometry_of(x)
    for function in GEOMETRY:
        assert getattr(found, function.__name__) == pytest.approx(float(function(x)), rel=1e-12)
    same = geometry_of(torch.full((6, 4), 0.1))
    assert same.anisotropy == pytest.approx(1)
    assert np.isnan([same.dimensions_for_variance, same.participation_ratio]).all()
    assert np.isnan(same.top_dimensions_share)
