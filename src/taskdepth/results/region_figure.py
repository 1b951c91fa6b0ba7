"""The curves that regions are found in, with the regions and the blocks to adapt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from taskdepth.layers import depth_of
from taskdepth.results.curves import band, floor_line, median_curve, with_tasks
from taskdepth.results.drawing import (
    ADAPTED,
    COLOURS,
    GREY,
    NORMAL,
    NothingToDrawError,
    all_layers,
    examples_text,
    finish,
    layer_axis,
    legend_line,
    name_regions,
    role_handles,
)
from taskdepth.results.layer_grid import (
    COMPARED,
    FLOOR,
    MEASURE_NAME,
    across_tasks,
    similarity_grid,
)
from taskdepth.results.regions import Placement, Regions, region_names, region_text
from taskdepth.results.table import LayerTable
from taskdepth.results.wording import counted, spans

INTERVAL = "#E8E8E8"


def region_curves(
    table: LayerTable, regions: Regions | None = None, selection: Placement | None = None
) -> Figure:
    """Similarity to the control models by layer, the regions found and the blocks to adapt.

    Raises:
        NothingToDrawError: the table has no such rows.
    """
    shown = with_tasks({role: similarity_grid(table, role) for role in COMPARED})
    if not shown:
        raise NothingToDrawError("the layer table has no similarity to control models to draw")
    figure = Figure(figsize=(8.6, 4.6))
    axes = figure.add_subplot()
    for role, found in shown.items():
        median_curve(axes, found, role)
        quartiles = across_tasks(found.values, 0.25), across_tasks(found.values, 0.75)
        band(axes, found.layers, *quartiles, role)
        floor_line(axes, similarity_grid(table, role, FLOOR), color=COLOURS[role], linestyle=":")
    handles: list[Artist] = role_handles(shown)
    handles.append(legend_line("shuffled rows (chance)", color=GREY, linestyle=":"))
    layers = all_layers(shown.values())
    handles += _mark_regions(axes, regions)
    edges = [0.5, *(last + 0.5 for _, _, last in region_names(regions))]
    name_regions(axes, regions, edges, 7.4 / len(layers))
    if selection is not None:
        handles += _mark_blocks(axes, selection)
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
        f"{examples_text(shown.values())} per task; {region_text(regions)}",
        handles,
    )
    return figure


def _mark_regions(axes: Axes, regions: Regions | None) -> list[Artist]:
    """The boundaries and their intervals, and what the legend says of them."""
    if regions is None or not regions.found:
        return []
    for low, high in regions.intervals:
        axes.axvspan(low + 0.5, high + 0.5, color=INTERVAL, zorder=0, linewidth=0)
    for boundary in regions.boundaries:
        axes.axvline(boundary + 0.5, color="black", linewidth=1.3, linestyle="--", zorder=1)
    handles = [legend_line("region boundary", color="black", linestyle="--")]
    if any(low < high for low, high in regions.intervals):
        handles.append(Patch(color=INTERVAL, label="its 95% interval"))
    return handles


def _mark_blocks(axes: Axes, selection: Placement) -> Sequence[Artist]:
    """A square below the curves for each block to adapt."""
    depths = [depth_of(block) for block in selection.blocks]
    label = f"blocks to adapt: {spans(selection.blocks)}"
    look: dict[str, Any] = {"color": ADAPTED, "marker": "s", "linestyle": ""}
    return axes.plot(depths, np.full(len(depths), -0.1), **look, label=label)
