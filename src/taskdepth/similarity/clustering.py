"""Does a similarity of tasks agree with the clusters that people sorted them into?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from taskdepth.errors import DataError


@dataclass(frozen=True, slots=True)
class ClusterAgreement:
    """How well a task × task similarity agrees with given clusters; NaN where that cannot be asked.

    `silhouette`: the mean over tasks, in [-1, 1]; above 0 where tasks are nearer to their own cluster
    than to the next one. `by_cluster`: the mean over each cluster's tasks. `adjusted_rand`: agreement of
    the clusters with as many groups of average linkage, 1 where equal, 0 by chance. Each p-value is the
    share of random assignments of the tasks to clusters of the same sizes that agree as well or better.
    """

    silhouette: float
    silhouette_p: float
    adjusted_rand: float
    adjusted_rand_p: float
    by_cluster: Mapping[str, float]
    n_tasks: int


def cluster_agreement(
    similarity: Float[np.ndarray, "tasks tasks"],
    clusters: Sequence[str],
    *,
    n_permutations: int = 999,
    seed: int = 0,
) -> ClusterAgreement:
    """Compare `similarity` (1: the same) with `clusters`; the distance is 1 - similarity, at least 0.

    Tasks without a value (NaN on the diagonal) are left out.

    Raises:
        DataError: not one cluster per task.
    """
    if similarity.shape != (len(clusters), len(clusters)):
        raise DataError(f"{similarity.shape} similarities do not fit {len(clusters)} clusters")
    known = np.isfinite(similarity.diagonal())
    names = [name for name, keep in zip(clusters, known, strict=True) if keep]
    kinds = sorted(set(names))
    if not 1 < len(kinds) < len(names):
        nothing = float("nan")
        return ClusterAgreement(nothing, nothing, nothing, nothing, {}, len(names))
    distance = np.clip(1 - similarity[np.ix_(known, known)], 0, None)
    np.fill_diagonal(distance, 0)
    labels = np.array([kinds.index(name) for name in names])
    generator = np.random.default_rng(seed)
    shuffled = np.stack([labels, *(generator.permutation(labels) for _ in range(n_permutations))])
    of_tasks = silhouettes(distance, shuffled)
    means = of_tasks.mean(1)
    rand = adjusted_rand(average_linkage(distance, len(kinds)), shuffled)
    return ClusterAgreement(
        silhouette=float(means[0]),
        silhouette_p=_share_as_high(means),
        adjusted_rand=float(rand[0]),
        adjusted_rand_p=_share_as_high(rand),
        by_cluster={
            name: float(of_tasks[0, labels == kind].mean()) for kind, name in enumerate(kinds)
        },
        n_tasks=len(names),
    )


def silhouettes(
    distance: Float[np.ndarray, "tasks tasks"], labels: Int[np.ndarray, "ways tasks"]
) -> Float[np.ndarray, "ways tasks"]:
    """The silhouette of every task, for each way to label them with 0, 1, …; every label occurs.

    (b - a) / max(a, b) with a the mean distance to the other tasks of the same cluster and b that to
    the nearest other cluster; 0 for a cluster's only task. Rousseeuw 1987,
    doi:10.1016/0377-0427(87)90125-7.
    """
    member = _members(labels)
    sizes = member.sum(1)  # [ways, clusters]
    totals = distance @ member  # [ways, tasks, clusters]
    own_size = (member * sizes[:, None]).sum(2)
    within = (totals * member).sum(2) / np.maximum(own_size - 1, 1)
    to_others = np.where(member > 0, np.inf, totals / sizes[:, None])
    nearest = to_others.min(2)
    larger = np.maximum(within, nearest)
    found = np.divide(nearest - within, larger, out=np.zeros_like(larger), where=larger > 0)
    return np.where(own_size > 1, found, 0.0)


def average_linkage(
    distance: Float[np.ndarray, "tasks tasks"], n_groups: int
) -> Int[np.ndarray, " tasks"]:
    """Merge the two nearest groups, by their mean distance, until `n_groups` are left; ties: the first.

    >>> at = np.array([0.0, 1.0, 5.0, 6.5])
    >>> average_linkage(abs(at[:, None] - at), 2).tolist()
    [0, 0, 1, 1]
    """
    between = distance.astype(float)
    np.fill_diagonal(between, np.inf)
    sizes = np.ones(len(between))
    group = np.arange(len(between))
    for _ in range(len(between) - n_groups):
        i, j = sorted(np.unravel_index(np.argmin(between), between.shape))
        merged = (sizes[i] * between[i] + sizes[j] * between[j]) / (sizes[i] + sizes[j])
        between[i], between[:, i] = merged, merged
        between[j], between[:, j], between[i, i] = np.inf, np.inf, np.inf
        sizes[i] += sizes[j]
        group[group == j] = i
    return np.unique(group, return_inverse=True)[1]


def adjusted_rand(
    one: Int[np.ndarray, " tasks"], others: Int[np.ndarray, "ways tasks"]
) -> Float[np.ndarray, " ways"]:
    """The adjusted Rand index of one grouping with each of several; 1 where they are the same.

    Hubert & Arabie 1985, doi:10.1007/BF01908075.
    """
    table = _members(one[None])[0].T @ _members(others)  # [ways, groups of one, groups of other]
    together = _pairs(table).sum((1, 2))
    in_one, in_other = _pairs(table.sum(2)).sum(1), _pairs(table.sum(1)).sum(1)
    expected = in_one * in_other / _pairs(np.array(float(len(one))))
    most = (in_one + in_other) / 2
    same = most == expected  # one group in both, or as many groups as tasks
    return np.where(same, 1.0, (together - expected) / np.where(same, 1.0, most - expected))


def _members(labels: Int[np.ndarray, "ways tasks"]) -> Float[np.ndarray, "ways tasks clusters"]:
    is_member: Bool[np.ndarray, "ways tasks clusters"]
    is_member = labels[:, :, None] == np.arange(labels.max() + 1)
    return is_member.astype(float)


def _pairs(count: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    pairs: Float[np.ndarray, "*shape"] = count * (count - 1) / 2
    return pairs


def _share_as_high(values: Float[np.ndarray, " ways"]) -> float:
    """The p-value of the first value among all; differences by rounding are none."""
    as_high: Bool[np.ndarray, " ways"] = values >= values[0] - 1e-12
    return float(as_high.mean())
