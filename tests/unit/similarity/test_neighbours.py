"""Mutual nearest neighbours against published numbers, scikit-learn, and the chance level."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from taskdepth.errors import DataError
from taskdepth.similarity import mutual_knn


def reference(n=100, p=10):
    state = np.random.RandomState(1337)
    x = state.randn(n, p)
    return torch.from_numpy(x), torch.from_numpy(state.randn(n, p) + x)


@pytest.mark.parametrize(("normalise", "expected"), [(False, 0.307), (True, 0.279)])
def test_published_number(normalise, expected):
    assert float(mutual_knn(*reference(), k=10, normalise=normalise)) == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_equals_sklearn(k):
    sides = reference()
    neighbours = [
        NearestNeighbors(n_neighbors=k, metric="cosine").fit(side).kneighbors(return_distance=False)
        for side in sides
    ]
    common = [len(set(a) & set(b)) for a, b in zip(*neighbours, strict=True)]
    assert float(mutual_knn(*sides, k=k, normalise=True)) == pytest.approx(np.mean(common) / k)


def test_chance_level_of_independent_sides():
    sides = (torch.randn(400, 20, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    assert float(mutual_knn(*sides, normalise=True)) == pytest.approx(10 / 399, abs=0.006)


def test_undefined_where_a_row_has_no_direction():
    x, y = reference()
    x[4] = 0
    assert mutual_knn(x, y, normalise=True).isnan()
    assert mutual_knn(x, y).isfinite()


def test_undefined_where_all_pairs_are_equally_near():
    assert mutual_knn(torch.eye(20), torch.randn(20, 3)).isnan()


@pytest.mark.parametrize(("n", "k"), [(11, 10), (3, 2), (5, 0)])
def test_refuses_too_many_neighbours(n, k):
    with pytest.raises(DataError, match=f"needs {k + 2}" if k else "at least 1"):
        mutual_knn(torch.randn(n, 3), torch.randn(n, 3), k=k)
