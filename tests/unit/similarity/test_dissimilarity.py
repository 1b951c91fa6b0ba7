"""RSA against rsatoolbox and scipy."""

import numpy as np
import pytest
import torch
from rsatoolbox.data import Dataset
from rsatoolbox.rdm import RDMs, calc_rdm, compare
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from taskdepth.similarity import rsa


def sides(n=12, p=5, q=7, seed=0):
    state = np.random.RandomState(seed)
    x = state.randn(n, p) + 1
    return x, np.concatenate([x[:, :2], state.randn(n, q - 2)], axis=1)


def ours(x, y, dissimilarity):
    return float(rsa(torch.from_numpy(x), torch.from_numpy(y), dissimilarity=dissimilarity))


def test_published_number():
    """rsatoolbox's Spearman comparison of squared Euclidean distances."""
    state = np.random.RandomState(1337)
    x = state.randn(100, 10)
    y = state.randn(100, 10) + x
    assert ours(x, y, "euclidean") == pytest.approx(0.49296470, abs=5e-9)


@pytest.mark.parametrize(("n", "p", "q"), [(3, 4, 5), (12, 5, 7), (9, 30, 3)])
@pytest.mark.parametrize(
    ("ours_by", "theirs_by"), [("correlation", "correlation"), ("euclidean", "euclidean")]
)
def test_equals_rsatoolbox(n, p, q, ours_by, theirs_by):
    x, y = sides(n, p, q)
    rdms = [calc_rdm(Dataset(side), method=theirs_by) for side in (x, y)]
    expected = compare(*rdms, method="spearman").item()
    assert ours(x, y, ours_by) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("ours_by", "metric"), [("cosine", "cosine"), ("euclidean", "sqeuclidean")]
)
def test_equals_scipy(ours_by, metric):
    x, y = sides()
    expected = spearmanr(pdist(x, metric), pdist(y, metric)).statistic
    assert ours(x, y, ours_by) == pytest.approx(expected, rel=1e-9)


def test_ties_share_their_rank():
    x = np.array([[0.0], [1], [2], [3], [5]])  # distances 1, 2, 3, 4, 5 with ties
    y = np.array([[0.0], [2], [1], [7], [4]])
    expected = spearmanr(pdist(x), pdist(y)).statistic
    assert ours(x, y, "euclidean") == pytest.approx(expected, rel=1e-12)
    rdms = [RDMs(pdist(side)[None]) for side in (x, y)]
    assert ours(x, y, "euclidean") == pytest.approx(compare(*rdms, method="spearman").item())


@pytest.mark.parametrize(
    ("useless", "dissimilarity"),
    [
        (np.eye(6), "correlation"),  # every two rows are equally far apart
        (np.eye(6), "cosine"),
        (np.eye(6), "euclidean"),
        (np.vstack([np.zeros(4), np.random.RandomState(0).randn(5, 4)]), "cosine"),
        (np.vstack([np.full(4, 0.1), np.random.RandomState(0).randn(5, 4)]), "correlation"),
    ],
)
def test_undefined(useless, dissimilarity):
    other = np.random.RandomState(1).randn(6, 3)
    assert np.isnan(ours(useless, other, dissimilarity))
    assert np.isnan(ours(other, useless, dissimilarity))


def test_refuses_an_unknown_dissimilarity():
    with pytest.raises(ValueError, match="cityblock"):
        ours(*sides(), "cityblock")
