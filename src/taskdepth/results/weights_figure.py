"""The figure of what a study's adapters do to the weights, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from taskdepth.results.drawing import (
    ADAPTED,
    COLOURS,
    NORMAL,
    NothingToDrawError,
    all_layers,
    finish,
    layer_axis,
    legend_line,
)
from taskdepth.results.layer_grid import LayerGrid, across_tasks, grid
from taskdepth.results.table import LayerTable
from taskdepth.results.wording import counted
from taskdepth.types import Role

# what a panel shows, and its name on the axis
PANELS = {
    "update_share": "size of the change\n‖ΔW‖ / ‖W‖",
    "update_effective_rank": "effective rank of ΔW",
    "update_overlap_outputs": "overlap with the experimental\nmodel's ΔW, outputs",
    "update_overlap_inputs": "overlap with the experimental\nmodel's ΔW, inputs",
    "intruder_dimensions": "intruder dimensions",
}
LOOKS: dict[Role, dict[str, Any]] = {
    Role.CONTROL: {"color": ADAPTED, "marker": "o"},
    Role.EXPERIMENTAL: {"color": COLOURS[Role.EXPERIMENTAL], "marker": "s"},
}
NAMES = {Role.CONTROL: "control models", Role.EXPERIMENTAL: "experimental model"}


def weights_figure(table: LayerTable) -> Figure:
    """One panel for each measure of the adapters that the table has, over layers.

    Raises:
        NothingToDrawError: the table has no rows about adapters.
    """
    panels = {
        name: {role: found for role in LOOKS if (found := _grid(table, name, role)).tasks}
        for name in PANELS
    }
    panels = {name: found for name, found in panels.items() if found}
    if not panels:
        raise NothingToDrawError("the layer table has no rows about adapters to draw")
    layers = all_layers(found for roles in panels.values() for found in roles.values())
    n_columns = 2 if len(panels) > 1 else 1
    n_rows = -(-len(panels) // n_columns)
    figure = Figure(figsize=(8.6, 0.9 + 2.2 * n_rows))
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for single, (name, roles) in zip(axes.flat, panels.items(), strict=False):
        _panel(single, name, roles, layers)
    for single in axes.flat[len(panels) :]:
        single.set_axis_off()
    for single in axes[-1]:
        single.set_xlabel("layer (block + 1)", fontsize=NORMAL)
    n_tasks = max(len(f.tasks) for roles in panels.values() for f in roles.values())
    shown = [role for role in LOOKS if any(role in roles for roles in panels.values())]
    handles: list[Artist] = [
        legend_line(NAMES[role], markersize=4, **LOOKS[role]) for role in shown
    ]
    finish(
        figure,
        "What the adapters do to the weights of each block",
        f"green: median over {counted(n_tasks, 'control model')}, band: middle half; only adapted "
        "blocks have a value",
        handles,
    )
    return figure


def _grid(table: LayerTable, name: str, role: Role) -> LayerGrid:
    return grid(table, kind="weights", name=name, role=role)


def _panel(axes: Axes, name: str, roles: dict[Role, LayerGrid], layers: Sequence[int]) -> None:
    for role, found in roles.items():
        median = across_tasks(found.values, 0.5)
        axes.plot(found.layers, median, linewidth=1.6, markersize=3, **LOOKS[role])
        if len(found.tasks) > 1:
            low, high = (across_tasks(found.values, q) for q in (0.25, 0.75))
            band: dict[str, Any] = {"color": LOOKS[role]["color"], "alpha": 0.2, "linewidth": 0}
            axes.fill_between(found.layers, low, high, **band)
    layer_axis(axes, layers)
    axes.set_xlim(layers[0] - 0.6, layers[-1] + 0.6)
    top = max(np.nanmax(found.values, initial=0) for found in roles.values())
    axes.set_ylim(0, 1.08 * top if top > 0 else 1)
    axes.set_ylabel(PANELS[name], fontsize=NORMAL)
