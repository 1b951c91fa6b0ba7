"""Principal components against scikit-learn; t-SNE keeps what belongs together."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from taskdepth.errors import ConfigError, DataError
from taskdepth.similarity import projection
from taskdepth.similarity.projection import pca, tsne


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("n", "p"), [(40, 12), (12, 40)])
def test_pca_equals_sklearn(n, p):
    x = randn(n, p) * torch.logspace(0, -1, p) + 7
    reference = PCA(2).fit(x.numpy())
    found = pca(x)
    expected = reference.transform(x.numpy())
    np.testing.assert_allclose(found.points.abs(), np.abs(expected), atol=1e-10)
    assert found.shares == pytest.approx(reference.explained_variance_ratio_)


def test_the_sign_is_settled_by_the_largest_deviation():
    x = randn(20, 5)
    found = pca(x)
    for axis in found.points.T:
        assert axis[axis.abs().argmax()] > 0
    torch.testing.assert_close(pca(x @ torch.linalg.qr(randn(5, 5, seed=1)).Q).points, found.points)


@pytest.mark.parametrize("method", [pca, tsne])
def test_rows_that_do_not_differ_have_no_place(method):
    found = method(torch.full((6, 4), 0.1))
    assert found.points.shape == (6, 2)
    assert found.points.isnan().all()
    assert found.shares is None


def test_tsne_keeps_groups_apart_and_repeats_itself():
    x = torch.cat([randn(12, 20, seed=s) + 30 * s for s in range(3)])
    found = tsne(x, seed=3)
    assert found.shares is None
    group = torch.arange(36) // 12
    gap = torch.cdist(found.points, found.points) + torch.eye(36) * 1e9
    assert (group[gap.argmin(1)] == group).all(), "each row's nearest is of its own group"
    assert torch.equal(tsne(x, seed=3).points, found.points)


def test_tsne_without_sklearn_says_what_to_do(monkeypatch):
    monkeypatch.setattr(projection, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'taskdepth\[tsne\]'"):
        tsne(randn(8, 4))


def test_refuses():
    with pytest.raises(DataError, match="2 rows and columns"):
        pca(randn(1, 4))
