"""Figures 2 and 3: similarity to the control models as boxes over tasks, by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from taskdepth.results.drawing import (
    COLOURS,
    GREY,
    NORMAL,
    SMALL,
    NothingToDrawError,
    all_layers,
    examples_text,
    finish,
    layer_axis,
    legend_line,
    short,
)
from taskdepth.results.layer_grid import (
    COMPARED,
    FLOOR,
    MEASURE,
    MEASURE_NAME,
    ROLE_NAMES,
    LayerGrid,
    across_tasks,
)
from taskdepth.results.paper_numbers import PaperNumbers
from taskdepth.results.table import LayerTable
from taskdepth.results.wording import counted
from taskdepth.types import Role


def similarity_boxes(table: LayerTable, numbers: PaperNumbers) -> Figure:
    """Figure 2: a box over tasks for every layer and compared model.

    Raises:
        NothingToDrawError: the table has no similarity to control models.
    """
    shown = _similarities(table, numbers)
    layers = all_layers(shown.values())
    figure = Figure(figsize=(max(7.0, 0.3 * len(layers) + 1), 4.2))
    axes = figure.add_subplot()
    handles: list[Artist] = [
        Patch(color=COLOURS[role], label=f"{ROLE_NAMES[role]} vs control models") for role in shown
    ]
    for place, (role, found) in enumerate(shown.items()):
        seen, unseen = numbers.seen(found), numbers.not_seen(found)
        _boxes(axes, seen, place, len(shown), COLOURS[role], n_layers=len(layers))
        floor = numbers.similarity(table, role, FLOOR)
        axes.plot(floor.layers, across_tasks(floor.values, 0.5), color=COLOURS[role], linestyle=":")
        for values in unseen.values:
            axes.plot(
                _places(unseen.layers, place, len(shown)),
                values,
                linestyle="",
                marker="x",
                color=COLOURS[role],
                markersize=3.5,
            )
    handles.append(legend_line("shuffled rows (chance)", color=GREY, linestyle=":"))
    if numbers.unseen:
        label = "one task that was not tuned on"
        handles.append(legend_line(label, color=GREY, linestyle="", marker="x"))
    _box_axis(axes, layers)
    axes.set_ylabel(MEASURE_NAME, fontsize=NORMAL)
    axes.set_xlabel("layer", fontsize=NORMAL)
    n_tasks = max(len(numbers.seen(found).tasks) for found in shown.values())
    finish(
        figure,
        "Figure 2: similarity to the control models, by layer",
        f"box: middle half of {counted(n_tasks, 'task')}, line: median, whiskers: to 1.5 boxes, points "
        f"beyond; {examples_text(shown.values())} per task{numbers.pooling_text}",
        handles,
    )
    return figure


def similarity_boxes_by_cluster(table: LayerTable, numbers: PaperNumbers) -> Figure:
    """Figure 3: the boxes of figure 2 for each cluster.

    Raises:
        NothingToDrawError: the table has no similarity to control models.
    """
    shown = _similarities(table, numbers)
    clusters = list(dict.fromkeys(name for found in shown.values() for name in found.clusters))
    layers = all_layers(shown.values())
    n_columns = min(3, len(clusters))
    n_rows = -(-len(clusters) // n_columns)
    figure = Figure(figsize=(max(6.5, n_columns * max(2.8, 0.125 * len(layers))), 1.8 * n_rows + 1))
    panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    for axes, cluster in zip(panels.flat, clusters, strict=False):
        n_tasks = 0
        for place, (role, found) in enumerate(shown.items()):
            part = found.of_cluster(cluster)
            n_tasks = max(n_tasks, len(part.tasks))
            _boxes(axes, part, place, len(shown), COLOURS[role], n_layers=len(layers))
        axes.set_title(f"{short(cluster, 36)} ({n_tasks})", fontsize=NORMAL - 0.5, loc="left")
        _box_axis(axes, layers)
    _trim(panels, len(clusters), MEASURE_NAME)
    finish(
        figure,
        "Figure 3: similarity to the control models, by layer and cluster",
        "box: middle half of the cluster's tasks (their number in brackets), line: median, whiskers: to "
        f"1.5 boxes, points beyond; {examples_text(shown.values())} per task{numbers.pooling_text}",
        [
            Patch(color=COLOURS[role], label=f"{ROLE_NAMES[role]} vs control models")
            for role in shown
        ],
    )
    return figure


def _similarities(table: LayerTable, numbers: PaperNumbers) -> dict[Role, LayerGrid]:
    found = {role: numbers.similarity(table, role, MEASURE) for role in COMPARED}
    shown = {role: part for role, part in found.items() if np.isfinite(part.values).any()}
    if not shown:
        raise NothingToDrawError("the layer table has no similarity to control models")
    return shown


def _places(layers: Sequence[int], place: int, n_places: int) -> Float[np.ndarray, " layers"]:
    """Where the boxes of one of several models stand, side by side around their layers."""
    return np.array(layers) + (place - (n_places - 1) / 2) * 0.8 / n_places


def _boxes(
    axes: Axes, shown: LayerGrid, place: int, n_places: int, colour: str, *, n_layers: int
) -> None:
    columns = [column[np.isfinite(column)] for column in shown.values.T]
    line = 0.9 if n_layers <= 16 else 0.6
    axes.boxplot(
        columns,
        positions=_places(shown.layers, place, n_places),
        widths=0.7 / n_places,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": colour, "alpha": 0.35, "linewidth": 0},
        medianprops={"color": colour, "linewidth": line + 0.7, "gid": "median"},
        whiskerprops={"color": colour, "linewidth": line},
        capprops={"linewidth": 0},
        flierprops={
            "marker": ".",
            "markersize": 3,
            "markerfacecolor": colour,
            "markeredgewidth": 0,
        },
    )


def _box_axis(axes: Axes, layers: Sequence[int]) -> None:
    layer_axis(axes, layers)
    axes.grid(axis="x", visible=False)
    axes.set_xlim(layers[0] - 0.6, layers[-1] + 0.6)
    axes.set_ylim(top=1.02)


def _trim(panels: np.ndarray, n_used: int, y_name: str) -> None:
    """Hide the panels that are left over, and name the outer axes."""
    n_columns = panels.shape[1]
    for axes in panels.flat[n_used:]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel(y_name, fontsize=SMALL)
    for column in range(n_columns):  # the lowest panel of each column carries the layers
        lowest = panels[(n_used - 1 - column) // n_columns, column]
        lowest.set_xlabel("layer", fontsize=NORMAL)
        lowest.tick_params(labelbottom=True)
