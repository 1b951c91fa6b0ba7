"""The table of tasks: one line for each, with its label probe at the best layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taskdepth.results.layer_grid import COMPARED, grid
from taskdepth.results.table import LayerTable


@dataclass(frozen=True, slots=True)
class TaskLine:
    """A row of the table of tasks; None where a task has no label probe or no defined value."""

    task: str
    cluster: str
    n: int
    layer: int | None = None
    accuracy: float | None = None
    lower: float | None = None
    upper: float | None = None
    majority: float | None = None
    control_task: float | None = None


def task_lines(table: LayerTable) -> tuple[TaskLine, ...]:
    """One line per task, with its label probe at the layer where that is best.

    The experimental model where it was probed, the pre-trained one otherwise.
    """
    probe = {"kind": "probe", "target": "label"}
    probed = set(table.where(**probe, name="accuracy").unique("role"))
    role = next((role for role in COMPARED[::-1] if role in probed), None)
    accuracy = grid(table, **probe, role=role, name="accuracy")
    majority = grid(table, **probe, role=role, name="majority")
    control_task = grid(table, **probe, role=role, name="control_task_accuracy")
    lines = []
    every = grid(about_one_task(table))
    for task, cluster, n in zip(every.tasks, every.clusters, every.n, strict=True):
        at = accuracy.tasks.index(task) if task in accuracy.tasks else None
        if at is None or not np.isfinite(accuracy.values[at]).any():
            lines.append(TaskLine(task, cluster, int(n.max())))
            continue
        best = int(np.nanargmax(accuracy.values[at]))
        layer = accuracy.layers[best]
        numbers = [accuracy.values[at, best], accuracy.lower[at, best], accuracy.upper[at, best]]
        numbers += [majority.at(task, layer), control_task.at(task, layer)]
        shown = [float(number) if np.isfinite(number) else None for number in numbers]
        lines.append(TaskLine(task, cluster, int(accuracy.n[at, best]), layer, *shown))
    return tuple(lines)


def about_one_task(table: LayerTable) -> LayerTable:
    """Without the probes over all tasks, whose recall rows bear the name of a group, and without
    adapters' weights, whose n counts modules."""
    return LayerTable(
        row for row in table if row.target in (None, "label") and row.kind != "weights"
    )
