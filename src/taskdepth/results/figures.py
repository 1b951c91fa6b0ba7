"""The PNG figures of a run: heat maps by task and layer, probe curves, regions.

No pyplot: a figure is made, returned and forgotten, whatever the caller's backend and state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from taskdepth.layers import depth_of
from taskdepth.results.drawing import (
    ADAPTED,
    COLOURS,
    DPI,
    GREY,
    MARKERS,
    NORMAL,
    SMALL,
    UNDEFINED,
    NothingToDrawError,
    all_layers,
    examples_text,
    finish,
    layer_axis,
    legend_line,
    role_handles,
    save,
    short,
)
from taskdepth.results.layer_grid import (
    COMPARED,
    FLOOR,
    MEASURE_NAME,
    ROLE_NAMES,
    LayerGrid,
    across_tasks,
    grid,
    similarity_grid,
)
from taskdepth.results.regions import Placement, Regions, region_names
from taskdepth.results.table import LayerTable
from taskdepth.results.weights_figure import weights_figure
from taskdepth.results.wording import counted, spans
from taskdepth.types import Role

__all__ = [  # the looks of `drawing` too: other figures take them from here
    "ADAPTED",
    "COLOURS",
    "DPI",
    "GREY",
    "NORMAL",
    "SMALL",
    "NothingToDrawError",
    "probe_accuracy_by_cluster",
    "region_curves",
    "save_all",
    "similarity_heatmap",
    "task_identity",
]

INTERVAL = "#E8E8E8"
SCALE_IN = 0.6  # inches for the colour scale below a heat map


def save_all(
    table: LayerTable, regions: Regions | None, selection: Placement | None, folder: Path
) -> dict[str, Path]:
    """Write every figure that `table` has rows for; the result maps its name to its PNG."""
    makers: dict[str, Callable[[], Figure]] = {
        "similarity_pretrained_vs_control": lambda: similarity_heatmap(
            table, Role.PRETRAINED, regions
        ),
        "similarity_experimental_vs_control": lambda: similarity_heatmap(
            table, Role.EXPERIMENTAL, regions
        ),
        "probe_accuracy_by_cluster": lambda: probe_accuracy_by_cluster(table),
        "task_identity": lambda: task_identity(table),
        "regions": lambda: region_curves(table, regions, selection),
        "adapter_weights": lambda: weights_figure(table),
    }
    return save(makers, folder)


def similarity_heatmap(table: LayerTable, role: Role, regions: Regions | None = None) -> Figure:
    """Debiased linear CKA between a compared model and each task's control model.

    Raises:
        NothingToDrawError: the table has no such rows.
    """
    shown = similarity_grid(table, role)
    if not shown.tasks:
        raise NothingToDrawError(
            f"the layer table has no similarity of the {ROLE_NAMES[role]} model to control models"
        )
    n_tasks, n_layers = shown.values.shape
    row_in, column_in = np.clip(5 / n_tasks, 0.18, 0.36), np.clip(5 / n_layers, 0.24, 0.5)
    names_in = sum(
        0.25 + 0.075 * max(len(short(name)) for name in names)
        for names in (shown.tasks, shown.clusters)
    )
    height_in = row_in * n_tasks + 1.5 + SCALE_IN
    figure = Figure(figsize=(max(names_in + column_in * n_layers, 6.5), height_in))
    axes = figure.add_subplot()
    axes.patch.set(**UNDEFINED)  # shows through where a value is NaN
    image = axes.imshow(shown.values, vmin=0, vmax=1, aspect="auto", interpolation="none")
    axes.set_yticks(range(n_tasks), [short(task) for task in shown.tasks], fontsize=SMALL)
    every = -(-n_layers // 32)
    labels = [str(layer) for layer in shown.layers]
    axes.set_xticks(range(n_layers)[::every], labels[::every], fontsize=SMALL)
    axes.set_xlabel("layer", fontsize=NORMAL)
    axes.tick_params(length=2)
    axes.spines[:].set_visible(False)
    _mark_clusters(axes, shown)
    # a layer's column is its place among the measured ones
    ends = [sum(layer <= last for layer in shown.layers) for _, _, last in region_names(regions)]
    edges = [-0.5, *(end - 0.5 for end in ends)]
    for edge in edges[1:-1]:
        axes.axvline(edge, color="white", linewidth=3.5)
        axes.axvline(edge, color="black", linewidth=1.3, linestyle="--")
    _name_regions(axes, regions, edges, column_in)
    undefined = Patch(**UNDEFINED, label="undefined")
    below_in = finish(
        figure,
        f"How alike the {ROLE_NAMES[role]} model and each task's control model are",
        f"{counted(n_tasks, 'task')}, {examples_text([shown])} per task; {_region_text(regions)}",
        [undefined] if np.isnan(shown.values).any() else [],
        keep_in=SCALE_IN,
    )
    scale = figure.add_axes((0.25, (below_in + 0.4) / height_in, 0.5, 0.1 / height_in))
    extend = "min" if np.nanmin(shown.values, initial=0.0) < 0 else "neither"
    bar = figure.colorbar(image, cax=scale, orientation="horizontal", extend=extend)
    bar.set_label(f"{MEASURE_NAME} (1: the same up to rotation and scale)", fontsize=NORMAL)
    scale.tick_params(labelsize=SMALL, length=2)
    return figure


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
            _curve(axes, part, role)
            _band(
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
            _curve(axes, found, role)
            _band(axes, found.layers, found.lower[0], found.upper[0], role)
            control_task = grid(table, **probe, role=role, name="control_task_accuracy")
            majority = grid(table, **probe, role=role, name="majority")
            _floor(axes, control_task, color=COLOURS[role], linestyle=":")
            _floor(axes, majority, color=GREY, linestyle="--")
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


def region_curves(
    table: LayerTable, regions: Regions | None = None, selection: Placement | None = None
) -> Figure:
    """Similarity to the control models by layer, the regions found and the blocks to adapt.

    Raises:
        NothingToDrawError: the table has no such rows.
    """
    shown = _drawable({role: similarity_grid(table, role) for role in COMPARED})
    if not shown:
        raise NothingToDrawError("the layer table has no similarity to control models to draw")
    figure = Figure(figsize=(8.6, 4.6))
    axes = figure.add_subplot()
    for role, found in shown.items():
        _curve(axes, found, role)
        quartiles = across_tasks(found.values, 0.25), across_tasks(found.values, 0.75)
        _band(axes, found.layers, *quartiles, role)
        _floor(axes, similarity_grid(table, role, FLOOR), color=COLOURS[role], linestyle=":")
    handles: list[Artist] = role_handles(shown)
    handles.append(legend_line("shuffled rows (chance)", color=GREY, linestyle=":"))
    layers = all_layers(shown.values())
    if regions is not None and regions.found:
        for low, high in regions.intervals:
            axes.axvspan(low + 0.5, high + 0.5, color=INTERVAL, zorder=0, linewidth=0)
        for boundary in regions.boundaries:
            axes.axvline(boundary + 0.5, color="black", linewidth=1.3, linestyle="--", zorder=1)
        handles.append(legend_line("region boundary", color="black", linestyle="--"))
        if any(low < high for low, high in regions.intervals):
            handles.append(Patch(color=INTERVAL, label="its 95% interval"))
    edges = [0.5, *(last + 0.5 for _, _, last in region_names(regions))]
    _name_regions(axes, regions, edges, 7.4 / len(layers))
    if selection is not None:
        depths = [depth_of(block) for block in selection.blocks]
        label = f"blocks to adapt: {spans(selection.blocks)}"
        adapted: dict[str, Any] = {"color": ADAPTED, "marker": "s", "linestyle": ""}
        handles += axes.plot(depths, np.full(len(depths), -0.1), **adapted, label=label)
    layer_axis(axes, layers)
    axes.set_xlim(layers[0] - 0.6, layers[-1] + 0.6)
    axes.set_ylim(-0.17, 1.02)
    axes.set_xlabel("layer (block + 1)", fontsize=NORMAL)
    axes.set_ylabel(MEASURE_NAME, fontsize=NORMAL)
    n_tasks = max(len(found.tasks) for found in shown.values())
    finish(
        figure,
        "Similarity to the control models by layer, and the regions found in it",
        f"line: median over {counted(n_tasks, 'task')}, band: middle half; "
        f"{examples_text(shown.values())} per task; {_region_text(regions)}",
        handles,
    )
    return figure


def _accuracy(table: LayerTable, target: str) -> dict[Role, LayerGrid]:
    probe = {"kind": "probe", "target": target, "name": "accuracy"}
    return _drawable({role: grid(table, **probe, role=role) for role in COMPARED})


def _drawable(grids: Mapping[Role, LayerGrid]) -> dict[Role, LayerGrid]:
    return {role: found for role, found in grids.items() if found.tasks}


def _curve(axes: Axes, shown: LayerGrid, role: Role) -> None:
    size = 3.5 if len(shown.layers) <= 16 else 2
    look: dict[str, Any] = {"color": COLOURS[role], "marker": MARKERS[role], "markersize": size}
    axes.plot(shown.layers, across_tasks(shown.values, 0.5), linewidth=1.8, **look)


def _band(axes: Axes, layers: Sequence[int], low: np.ndarray, high: np.ndarray, role: Role) -> None:
    axes.fill_between(layers, low, high, color=COLOURS[role], alpha=0.2, linewidth=0)


def _floor(axes: Axes, shown: LayerGrid, **look: Any) -> None:
    axes.plot(shown.layers, across_tasks(shown.values, 0.5), **look)


def _mark_clusters(axes: Axes, shown: LayerGrid) -> None:
    """White lines between the clusters, and their names at the right."""
    centres, names, start = [], [], 0
    for name, group in groupby(shown.clusters):
        end = start + len(list(group))
        centres.append((start + end - 1) / 2)
        names.append(short(name))
        if start:
            axes.axhline(start - 0.5, color="white", linewidth=2)
        start = end
    right = axes.secondary_yaxis("right")
    right.set_yticks(centres, names, fontsize=SMALL)
    right.tick_params(length=0)
    right.spines[:].set_visible(False)


def _name_regions(
    axes: Axes, regions: Regions | None, edges: Sequence[float], column_in: float
) -> None:
    """The regions' names above the axes, between their `edges`, where there is room for them."""
    for (name, _, _), low, high in zip(region_names(regions), edges, edges[1:], strict=False):
        if (high - low) * column_in > 0.075 * len(name):
            axes.annotate(
                name,
                ((low + high) / 2, 1.0),
                xytext=(0, 3),
                xycoords=axes.get_xaxis_transform(),
                textcoords="offset points",
                ha="center",
                fontsize=SMALL,
                color=GREY,
            )


def _region_text(regions: Regions | None) -> str:
    named = [f"{name} {spans(range(a, b + 1))}" for name, a, b in region_names(regions)]
    return f"regions: {', '.join(named)}" if named else "no regions"
