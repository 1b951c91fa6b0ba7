"""Silhouette, average linkage and the adjusted Rand index against scikit-learn."""

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score, silhouette_samples, silhouette_score

from taskdepth.errors import DataError
from taskdepth.similarity.clustering import (
    adjusted_rand,
    average_linkage,
    cluster_agreement,
    silhouettes,
)

CLUSTERS = ["nli"] * 6 + ["sentiment"] * 5 + ["misc"] * 4 + ["alone"]
LABELS = np.unique(CLUSTERS, return_inverse=True)[1]


def distances(*, planted: float, seed=0):
    """Points around a centre for each cluster; `planted` says how far apart these are."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(len(CLUSTERS), 5)) + planted * rng.normal(size=(4, 5))[LABELS]
    return np.linalg.norm(points[:, None] - points, axis=2)


@pytest.mark.parametrize("planted", [0.0, 1.0, 5.0])
def test_silhouettes_equal_sklearn(planted):
    distance = distances(planted=planted)
    shuffled = np.random.default_rng(1).permutation(LABELS)
    found = silhouettes(distance, np.stack([LABELS, shuffled]))
    for row, labels in zip(found, (LABELS, shuffled), strict=True):
        expected = silhouette_samples(distance, labels, metric="precomputed")
        np.testing.assert_allclose(row, expected, atol=1e-12)


@pytest.mark.parametrize("n_groups", [1, 2, 4, 9, 16])
@pytest.mark.parametrize("planted", [0.0, 2.0])
def test_average_linkage_equals_sklearn(n_groups, planted):
    distance = distances(planted=planted)
    reference = AgglomerativeClustering(n_groups, metric="precomputed", linkage="average")
    found = average_linkage(distance, n_groups)
    assert adjusted_rand_score(found, reference.fit_predict(distance)) == 1
    assert len(set(found.tolist())) == n_groups


def test_average_linkage_leaves_its_input_alone():
    distance = distances(planted=1.0)
    before = distance.copy()
    average_linkage(distance, 3)
    np.testing.assert_array_equal(distance, before)


def test_adjusted_rand_equals_sklearn():
    rng = np.random.default_rng(2)
    one = rng.integers(0, 5, 30)
    others = np.stack([one, rng.integers(0, 3, 30), np.zeros(30, int), np.arange(30)])
    expected = [adjusted_rand_score(one, other) for other in others]
    np.testing.assert_allclose(adjusted_rand(one, others), expected, atol=1e-12)


def test_adjusted_rand_of_one_group_with_itself_is_1():
    assert adjusted_rand(np.zeros(5, int), np.zeros((1, 5), int)).tolist() == [1.0]


def test_planted_clusters_are_found_and_others_are_not():
    planted = cluster_agreement(1 - distances(planted=8.0), CLUSTERS, n_permutations=199)
    assert planted.silhouette > 0.5
    assert planted.adjusted_rand == pytest.approx(1)
    assert planted.silhouette_p == planted.adjusted_rand_p == 1 / 200
    p = [
        cluster_agreement(1 - distances(planted=0.0, seed=s), CLUSTERS, n_permutations=99, seed=s)
        for s in range(40)
    ]
    for name in ("silhouette_p", "adjusted_rand_p"):
        values = np.array([getattr(found, name) for found in p])
        assert 0.3 < values.mean() < 0.7
        assert (values <= 0.1).mean() < 0.25


def test_silhouette_by_cluster():
    distance = distances(planted=1.0)
    found = cluster_agreement(1 - distance, CLUSTERS, n_permutations=9)
    of_tasks = silhouette_samples(distance, LABELS, metric="precomputed")
    assert found.silhouette == pytest.approx(
        silhouette_score(distance, LABELS, metric="precomputed")
    )
    for name in set(CLUSTERS):
        here = [one == name for one in CLUSTERS]
        assert found.by_cluster[name] == pytest.approx(of_tasks[here].mean())
    assert found.by_cluster["alone"] == 0


def test_tasks_without_a_value_are_left_out():
    similarity = 1 - distances(planted=1.0)
    holed = similarity.copy()
    holed[2], holed[:, 2] = np.nan, np.nan
    keep = [i for i in range(len(CLUSTERS)) if i != 2]
    expected = cluster_agreement(similarity[np.ix_(keep, keep)], [CLUSTERS[i] for i in keep])
    assert cluster_agreement(holed, CLUSTERS) == expected
    assert expected.n_tasks == 15


@pytest.mark.parametrize("clusters", [["a"] * 5, list("abcde")])
def test_nothing_to_ask(clusters):
    found = cluster_agreement(np.eye(5), clusters)
    assert np.isnan([found.silhouette, found.silhouette_p, found.adjusted_rand]).all()
    assert found.by_cluster == {}


def test_refuses():
    with pytest.raises(DataError, match="do not fit 2 clusters"):
        cluster_agreement(np.eye(3), ["a", "b"])
