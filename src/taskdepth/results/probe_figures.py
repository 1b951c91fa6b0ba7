"""Curves of what linear probes read, layer by layer."""

from __future__ import annotations

from matplotlib.figure import Figure

from taskdepth.results.curves import band, floor_line, median_curve, with_tasks
from taskdepth.results.drawing import (
    COLOURS,
    GREY,
    NORMAL,
    NothingToDrawError,
    all_layers,
    examples_text,
    finish,
    layer_axis,
    legend_line,
    role_handles,
    short,
)
from taskdepth.results.layer_grid import COMPARED, LayerGrid, across_tasks, grid
from taskdepth.results.table import LayerTable
from taskdepth.types import Role


def probe_accuracy_by_cluster(table: LayerTable) -> Figure:
    """Held-out accuracy of the label probes by layer: one panel per cluster, both compared models.

    Raises:
        NothingToDrawError: the table has no label probes.
    """
    shown = _accuracy(table, "label")
    if not shown:
        raise NothingToDrawError("the layer table has no label probes to draw")
    majority = grid(table, kind="probe", target="label", name="majority")
    clusters = list(dict.fromkeys(name for found in shown.values() for name in found.clusters))
    n_columns = min(4, len(clusters))
    n_rows = -(-len(clusters) // n_columns)
    figure = Figure(figsize=(max(2.6 * n_columns, 6.5), 1.9 * n_rows + 1.4))
    panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    for axes, cluster in zip(panels.flat, clusters, strict=False):
        parts = {role: found.of_cluster(cluster) for role, found in shown.items()}
        for role, part in parts.items():
            median_curve(axes, part, role)
            band(
                axes, part.layers, across_tasks(part.values, 0), across_tasks(part.values, 1), role
            )
        floor = majority.of_cluster(cluster)
        axes.plot(floor.layers, across_tasks(floor.values, 0.5), color=GREY, linestyle="--")
        n_tasks = max(len(part.tasks) for part in parts.values())
        axes.set_title(f"{short(cluster, 30)} ({n_tasks})", fontsize=NORMAL - 0.5, loc="left")
        axes.set_ylim(0, 1.02)
        layer_axis(axes, all_layers(shown.values()))
    for axes in panels.flat[len(clusters) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("accuracy", fontsize=NORMAL)
    for column in range(n_columns):  # the lowest panel of each column carries the layers
        lowest = panels[(len(clusters) - 1 - column) // n_columns, column]
        lowest.set_xlabel("layer", fontsize=NORMAL)
        lowest.tick_params(labelbottom=True)
    finish(
        figure,
        "Where labels can be read: accuracy of linear probes, by cluster",
        "line: median over the cluster's tasks (their number in brackets), band: their range; "
        f"{examples_text(shown.values())} per task",
        [*role_handles(shown), legend_line("majority class", color=GREY, linestyle="--")],
    )
    return figure


def task_identity(table: LayerTable) -> Figure:
    """Accuracy of the probes that name the task, or the cluster, of a prompt.

    Raises:
        NothingToDrawError: the table has no such probes.
    """
    figure = Figure(figsize=(8.6, 4.2))
    panels = figure.subplots(1, 2, sharey=True)
    drawn: dict[Role, LayerGrid] = {}
    for axes, target in zip(panels, ("task", "cluster"), strict=True):
        probe = {"kind": "probe", "target": target}
        shown = _accuracy(table, target)
        drawn |= shown
        for role, found in shown.items():
            median_curve(axes, found, role)
            band(axes, found.layers, found.lower[0], found.upper[0], role)
            control_task = grid(table, **probe, role=role, name="control_task_accuracy")
            majority = grid(table, **probe, role=role, name="majority")
            floor_line(axes, control_task, color=COLOURS[role], linestyle=":")
            floor_line(axes, majority, color=GREY, linestyle="--")
            layer_axis(axes, found.layers)
        axes.set_title(f"which {target}?", fontsize=NORMAL, loc="left")
        axes.set_xlabel("layer", fontsize=NORMAL)
        axes.set_ylim(0, 1.02)
    if not drawn:
        raise NothingToDrawError("the layer table has no task-identity probes to draw")
    panels[0].set_ylabel("accuracy", fontsize=NORMAL)
    finish(
        figure,
        "Where the layers tell tasks and clusters apart",
        f"linear probes, {examples_text(drawn.values())}; band: 95% interval",
        [
            *role_handles(drawn),
            legend_line("control task (random labels)", color=GREY, linestyle=":"),
            legend_line("majority class", color=GREY, linestyle="--"),
        ],
    )
    return figure


def _accuracy(table: LayerTable, target: str) -> dict[Role, LayerGrid]:
    probe = {"kind": "probe", "target": target, "name": "accuracy"}
    return with_tasks({role: grid(table, **probe, role=role) for role in COMPARED})
