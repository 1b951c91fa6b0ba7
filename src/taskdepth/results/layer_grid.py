"""`LayerGrid`: one quantity of the layer table, laid out by task and layer."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from jaxtyping import Float, Int

from taskdepth.results.table import LayerTable, Row
from taskdepth.types import Role

MEASURE = "debiased_cka"  # the default measure (biased linear CKA is high for unrelated data)


MEASURE_NAME = "debiased linear CKA"


FLOOR = f"{MEASURE}_shuffled"  # the same measure after shuffling the rows of one model


COMPARED = (Role.PRETRAINED, Role.EXPERIMENTAL)


ROLE_NAMES = {Role.PRETRAINED: "pre-trained", Role.EXPERIMENTAL: "experimental"}


@dataclass(frozen=True, slots=True, eq=False)
class LayerGrid:
    """One quantity by task and layer; the tasks of a cluster stand together.

    `clusters[i]` is the cluster of `tasks[i]`. NaN is undefined. `lower` and `upper` are NaN where
    the table has no interval, `n` is 0 where it has no row. Several seeds are averaged, their
    intervals spanned.
    """

    tasks: tuple[str, ...]
    clusters: tuple[str, ...]
    layers: tuple[int, ...]
    values: Float[np.ndarray, "tasks layers"]
    lower: Float[np.ndarray, "tasks layers"]
    upper: Float[np.ndarray, "tasks layers"]
    n: Int[np.ndarray, "tasks layers"]

    def of_cluster(self, cluster: str) -> LayerGrid:
        """The rows of one cluster."""
        return self.only([name == cluster for name in self.clusters])

    def only(self, keep: Sequence[bool]) -> LayerGrid:
        """The rows of the tasks that `keep` says."""
        rows = [i for i, kept in enumerate(keep) if kept]
        return LayerGrid(
            tuple(self.tasks[i] for i in rows),
            tuple(self.clusters[i] for i in rows),
            self.layers,
            self.values[rows],
            self.lower[rows],
            self.upper[rows],
            self.n[rows],
        )

    def at(self, task: str, layer: int) -> float:
        """One value; NaN where there is no such task or layer."""
        if task not in self.tasks or layer not in self.layers:
            return float("nan")
        return float(self.values[self.tasks.index(task), self.layers.index(layer)])


def grid(table: LayerTable, **equals: object) -> LayerGrid:
    """Lay out by task and layer the rows whose columns equal the given values.

    Clusters keep the order of their first row, tasks theirs within a cluster.

    >>> tasks = [("rte", "nli"), ("sst2", "sentiment"), ("cb", "nli")]
    >>> rows = [Row("m", "experimental", *task, 1, "probe", "accuracy", 0.5, 9) for task in tasks]
    >>> grid(LayerTable(rows), name="accuracy").tasks
    ('rte', 'cb', 'sst2')
    """
    cells: dict[tuple[str, int], list[Row]] = defaultdict(list)
    tasks_of: dict[str, dict[str, None]] = defaultdict(dict)
    for row in table.where(**equals):
        if row.depth >= 1:
            cells[row.task, row.depth].append(row)
            tasks_of[row.cluster][row.task] = None
    pairs = [(task, cluster) for cluster, tasks in tasks_of.items() for task in tasks]
    layers = sorted({depth for _, depth in cells})
    shape = len(pairs), len(layers)
    values, lower, upper = (np.full(shape, np.nan) for _ in range(3))
    n = np.zeros(shape, dtype=np.int64)
    for i, (task, _) in enumerate(pairs):
        for j, layer in enumerate(layers):
            rows = cells.get((task, layer), [])
            values[i, j] = fmean(finite(row.value for row in rows) or [math.nan])
            lower[i, j] = min(finite(row.lower for row in rows), default=np.nan)
            upper[i, j] = max(finite(row.upper for row in rows), default=np.nan)
            n[i, j] = min((row.n for row in rows), default=0)
    names, clusters = zip(*pairs, strict=True) if pairs else ((), ())
    return LayerGrid(names, clusters, tuple(layers), values, lower, upper, n)


def similarity_grid(table: LayerTable, role: Role, name: str = MEASURE) -> LayerGrid:
    """The similarity of one compared model to each task's control model."""
    return grid(table, kind="similarity", role=role, reference=Role.CONTROL, name=name)


def across_tasks(
    values: Float[np.ndarray, "tasks layers"], q: float
) -> Float[np.ndarray, " layers"]:
    """The quantile `q` over the tasks that are defined at each layer; NaN where none is.

    >>> across_tasks(np.array([[1.0, np.nan], [3.0, np.nan]]), 0.5)
    array([ 2., nan])
    """
    return np.array([np.quantile(finite(column) or [np.nan], q) for column in values.T])


def finite(values: Iterable[float | None]) -> list[float]:
    """The numbers among `values`, without None, NaN and infinities."""
    return [float(v) for v in values if v is not None and math.isfinite(v)]
