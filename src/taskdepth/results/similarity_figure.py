"""The heat map of a model's similarity to the control models, task by task and layer by layer."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from taskdepth.results.drawing import (
    NORMAL,
    SMALL,
    UNDEFINED,
    NothingToDrawError,
    examples_text,
    finish,
    name_regions,
    short,
)
from taskdepth.results.layer_grid import MEASURE_NAME, ROLE_NAMES, LayerGrid, similarity_grid
from taskdepth.results.regions import Regions, region_names, region_text
from taskdepth.results.table import LayerTable
from taskdepth.results.wording import counted
from taskdepth.types import Role

SCALE_IN = 0.6  # inches for the colour scale below a heat map


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
    image = _cells(axes, shown)
    _mark_clusters(axes, shown)
    _mark_regions(axes, shown, regions, column_in)
    undefined = Patch(**UNDEFINED, label="undefined")
    below_in = finish(
        figure,
        f"How alike the {ROLE_NAMES[role]} model and each task's control model are",
        f"{counted(n_tasks, 'task')}, {examples_text([shown])} per task; {region_text(regions)}",
        [undefined] if np.isnan(shown.values).any() else [],
        keep_in=SCALE_IN,
    )
    scale = figure.add_axes((0.25, (below_in + 0.4) / height_in, 0.5, 0.1 / height_in))
    extend = "min" if np.nanmin(shown.values, initial=0.0) < 0 else "neither"
    bar = figure.colorbar(image, cax=scale, orientation="horizontal", extend=extend)
    bar.set_label(f"{MEASURE_NAME} (1: the same up to rotation and scale)", fontsize=NORMAL)
    scale.tick_params(labelsize=SMALL, length=2)
    return figure


def _cells(axes: Axes, shown: LayerGrid) -> AxesImage:
    """A row for each task, a column for each layer."""
    n_tasks, n_layers = shown.values.shape
    axes.patch.set(**UNDEFINED)  # shows through where a value is NaN
    image = axes.imshow(shown.values, vmin=0, vmax=1, aspect="auto", interpolation="none")
    axes.set_yticks(range(n_tasks), [short(task) for task in shown.tasks], fontsize=SMALL)
    every = -(-n_layers // 32)
    labels = [str(layer) for layer in shown.layers]
    axes.set_xticks(range(n_layers)[::every], labels[::every], fontsize=SMALL)
    axes.set_xlabel("layer", fontsize=NORMAL)
    axes.tick_params(length=2)
    axes.spines[:].set_visible(False)
    return image


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


def _mark_regions(axes: Axes, shown: LayerGrid, regions: Regions | None, column_in: float) -> None:
    """Lines between the regions, and their names above."""
    # a layer's column is its place among the measured ones
    ends = [sum(layer <= last for layer in shown.layers) for _, _, last in region_names(regions)]
    edges = [-0.5, *(end - 0.5 for end in ends)]
    for edge in edges[1:-1]:
        axes.axvline(edge, color="white", linewidth=3.5)
        axes.axvline(edge, color="black", linewidth=1.3, linestyle="--")
    name_regions(axes, regions, edges, column_in)
