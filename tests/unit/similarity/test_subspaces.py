"""Principal angles against scipy, overlap against PCA of scikit-learn."""

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.decomposition import PCA

from taskdepth.errors import DataError
from taskdepth.similarity import principal_angles, subspace_overlap


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("d", "k", "m"), [(10, 3, 5), (10, 5, 3), (6, 4, 4), (5, 1, 1), (3, 3, 2)])
def test_principal_angles_equal_scipy(d, k, m):
    a, b = randn(d, k), randn(d, m, seed=1)
    expected = np.sort(scipy.linalg.subspace_angles(a.numpy(), b.numpy()))
    np.testing.assert_allclose(principal_angles(a, b), expected, atol=1e-12)


def test_tiny_angles_keep_their_digits():
    a = torch.eye(5, dtype=torch.float64)[:, :2]
    b = a.clone()
    b[2, 0] = 1e-10
    angles = principal_angles(a, b)
    assert float(angles[1]) == pytest.approx(1e-10, rel=1e-6)
    assert float(angles[0]) == 0


@pytest.mark.parametrize("k", [1, 3])
def test_overlap_equals_the_angles_between_pca_scores(k):
    x, y = randn(30, 6), randn(30, 5, seed=1)
    y[:, :2] += 3 * x[:, :2]
    scores = [torch.from_numpy(PCA(k).fit_transform(side)) for side in (x, y)]
    expected = principal_angles(*scores).cos().square().mean()
    assert float(subspace_overlap(x, y, k=k)) == pytest.approx(float(expected), rel=1e-9)


def test_chance_level_of_independent_sides():
    values = [
        subspace_overlap(randn(60, 80, seed=s), randn(60, 80, seed=100 + s)) for s in range(20)
    ]
    assert float(torch.stack(values).mean()) == pytest.approx(10 / 59, rel=0.1)


def test_undefined_without_k_dimensions_or_with_a_tie():
    other = randn(20, 8)
    assert subspace_overlap(randn(20, 3), other, k=4).isnan()
    flat = randn(20, 3) @ randn(3, 8, seed=1)
    assert subspace_overlap(flat, other, k=4).isnan()
    assert subspace_overlap(flat, other, k=3).isfinite()
    tied = torch.linalg.qr(other - other.mean(0)).Q  # all components are alike
    assert subspace_overlap(tied, other, k=4).isnan()
    assert subspace_overlap(tied, other, k=8).isfinite()


@pytest.mark.parametrize(("n", "k", "words"), [(5, 4, "needs 6"), (5, 0, "at least 1")])
def test_refuses(n, k, words):
    with pytest.raises(DataError, match=words):
        subspace_overlap(randn(n, 9), randn(n, 9), k=k)
