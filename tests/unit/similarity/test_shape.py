"""Procrustes against the numbers of netrep and rsatoolbox, and scipy's best rotation."""

import numpy as np
import pytest
import scipy.linalg
import torch

from taskdepth.similarity import linear_cka, procrustes, procrustes_cosine


def reference():
    state = np.random.RandomState(1337)
    x = state.randn(100, 10)
    return torch.from_numpy(x), torch.from_numpy(state.randn(100, 10) + x)


def test_published_numbers():
    assert float(procrustes(*reference())) == pytest.approx(0.7432764761208089, rel=1e-12)  # netrep
    assert float(procrustes_cosine(*reference())) == pytest.approx(0.73625531, abs=5e-9)
    # netrep's LinearCKA is an angle, too
    assert float(linear_cka(*reference()).arccos()) == pytest.approx(0.9792885578150536, rel=1e-12)


@pytest.mark.parametrize(("n", "p"), [(30, 6), (5, 9)])
def test_equals_what_scipys_best_rotation_leaves(n, p):
    state = np.random.RandomState(0)
    x = state.randn(n, p)
    y = x + state.randn(n, p)
    x, y = x - x.mean(0), y - y.mean(0)
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    rotation, _ = scipy.linalg.orthogonal_procrustes(x, y)
    cosine = np.trace((x @ rotation).T @ y)
    found = procrustes_cosine(torch.from_numpy(x), torch.from_numpy(y))
    assert float(found) == pytest.approx(cosine, rel=1e-12)
    # of unit vectors: the squared distance is 2 - 2 cos
    assert np.linalg.norm(x @ rotation - y) ** 2 == pytest.approx(2 - 2 * float(found), rel=1e-9)


def test_is_a_metric():
    state = np.random.RandomState(0)
    points = [torch.from_numpy(state.randn(12, 4)) for _ in range(6)]
    for x in points:
        for y in points:
            for z in points:
                assert procrustes(x, z) <= procrustes(x, y) + procrustes(y, z) + 1e-7
