"""Curves by layer, as several figures draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from taskdepth.results.drawing import COLOURS, MARKERS
from taskdepth.results.layer_grid import LayerGrid, across_tasks
from taskdepth.types import Role


def with_tasks(grids: Mapping[Role, LayerGrid]) -> dict[Role, LayerGrid]:
    """The grids that have anything to show."""
    return {role: found for role, found in grids.items() if found.tasks}


def median_curve(axes: Axes, shown: LayerGrid, role: Role) -> None:
    """The median over tasks, with the looks of a model."""
    size = 3.5 if len(shown.layers) <= 16 else 2
    look: dict[str, Any] = {"color": COLOURS[role], "marker": MARKERS[role], "markersize": size}
    axes.plot(shown.layers, across_tasks(shown.values, 0.5), linewidth=1.8, **look)


def band(axes: Axes, layers: Sequence[int], low: np.ndarray, high: np.ndarray, role: Role) -> None:
    """What lies between `low` and `high`, of the same length as `layers`, with the colour of a model."""
    axes.fill_between(layers, low, high, color=COLOURS[role], alpha=0.2, linewidth=0)


def floor_line(axes: Axes, shown: LayerGrid, **look: Any) -> None:
    """The median over tasks of what a curve is held against."""
    axes.plot(shown.layers, across_tasks(shown.values, 0.5), **look)
