"""The six figures of a run that answer figures 2 to 7 of "Layer by Layer" (arXiv:2410.20008).

2, 3  box plots by layer of each compared model's similarity to the control models, over all tasks and
      over each cluster's
4     states of the last prompt token at chosen layers as points of a plane, coloured by cluster
5     dimensions for 99 % of the variance, by layer and model
6     correlation over tasks of similarity with readability and training size
7     task × task similarity at chosen layers, and its agreement with the clusters

What a figure is about is the paper's; how it is drawn is ours. Ours are also: debiased linear CKA in
the place of the biased one; principal components in the place of t-SNE unless that is asked for; as
many rows of every task in figures 4, 5 and 7; permutation tests with Benjamini-Hochberg correction in
6 and 7; the two measures, the silhouette and the Rand index of 7. Tasks that the experimental model
was not tuned on have marks of their own in figure 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from taskdepth.results.drawing import (
    COLOURS,
    GREY,
    MARKERS,
    NORMAL,
    SIGNIFICANT,
    SMALL,
    NothingToDrawError,
    all_layers,
    examples_text,
    finish,
    layer_axis,
    legend_line,
    model_name,
    role_handles,
    save,
    short,
    significance_marks,
)
from taskdepth.results.layer_grid import (
    COMPARED,
    ROLE_NAMES,
    across_tasks,
)
from taskdepth.results.paper_boxes import similarity_boxes, similarity_boxes_by_cluster
from taskdepth.results.paper_maps import task_maps
from taskdepth.results.paper_numbers import PaperNumbers, Scatter
from taskdepth.results.table import LayerTable
from taskdepth.results.wording import counted
from taskdepth.types import Role

FIGURES = tuple(f"paper_fig{number}" for number in range(2, 8))
CEILING_IN_SIGHT = 1.5  # n - 1 is drawn when it is less than this many times the largest count
CONTROL_COLOUR = "#009E73"
PROPERTY_NAMES = {
    "flesch_kincaid": "Flesch-Kincaid grade",
    "coleman_liau": "Coleman-Liau index",
    "training_size": "training size",
}
# clusters by colour and shape: twelve colours alone are told apart by nobody
CLUSTER_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
CLUSTER_MARKERS = ("o", "x", "^", "+")


def save_paper_figures(table: LayerTable, numbers: PaperNumbers, folder: Path) -> dict[str, Path]:
    """Write `paper_fig2.png` to `paper_fig7.png`, those that there is something for."""
    makers = (
        lambda: similarity_boxes(table, numbers),
        lambda: similarity_boxes_by_cluster(table, numbers),
        lambda: scatters(numbers),
        lambda: dimensions(numbers),
        lambda: correlations(numbers),
        lambda: task_maps(numbers),
    )
    return save(dict(zip(FIGURES, makers, strict=True)), folder)


def scatters(numbers: PaperNumbers) -> Figure:
    """Figure 4: states at chosen layers, one row of panels per model, coloured by cluster.

    Raises:
        NothingToDrawError: at no chosen layer do the states differ.
    """
    if not any(np.isfinite(panel.points).all() for panel in numbers.scatters):
        raise NothingToDrawError("the states at the chosen layers do not differ")
    roles = list(dict.fromkeys(panel.role for panel in numbers.scatters))
    layers = sorted({panel.layer for panel in numbers.scatters})
    cluster_of = dict(zip(numbers.maps.tasks, numbers.maps.clusters, strict=True))
    clusters = np.array([cluster_of[task] for task in numbers.points_of])
    names = list(dict.fromkeys(numbers.maps.clusters))
    figure = Figure(figsize=(max(7.0, 2.7 * len(layers)), 2.6 * len(roles) + 1.5))
    panels = figure.subplots(len(roles), len(layers), squeeze=False)
    for panel in numbers.scatters:
        axes = panels[roles.index(panel.role), layers.index(panel.layer)]
        _scatter(axes, panel, clusters, names)
        if panel.layer == layers[0]:
            axes.set_ylabel(_axis_name(panel, 1), fontsize=SMALL)
        axes.set_title(
            f"{model_name(panel.role)}, layer {panel.layer}", fontsize=NORMAL, loc="left"
        )
    method = (
        "principal components of each panel by itself, with their share of the variance"
        if numbers.projection == "pca"
        else "t-SNE of each panel by itself: its distances between groups mean little"
    )
    per_task = len(numbers.points_of) // len(numbers.maps.tasks)
    finish(
        figure,
        "Figure 4: prompts of all tasks at chosen layers, coloured by cluster",
        f"{method}; {counted(len(numbers.maps.tasks), 'task')}, {per_task} prompts of each"
        f"{numbers.pooling_text}",
        [
            legend_line(short(name, 30), linestyle="", markersize=5, **_cluster_look(names, name))
            for name in names
        ],
    )
    return figure


def dimensions(numbers: PaperNumbers) -> Figure:
    """Figure 5: how many principal components hold 99 % of the variance, by layer.

    Raises:
        NothingToDrawError: there is no such row.
    """
    looks: dict[Role, tuple[str, str, str]] = {
        **{role: (ROLE_NAMES[role], COLOURS[role], MARKERS[role]) for role in COMPARED},
        Role.CONTROL: ("control", CONTROL_COLOUR, "^"),
    }
    found = {role: numbers.dimensions(role) for role in looks}
    shown = {role: part for role, part in found.items() if np.isfinite(part.values).any()}
    if not shown:
        raise NothingToDrawError("no dimensions were measured")
    figure = Figure(figsize=(7.0, 4.0))
    axes = figure.add_subplot()
    handles = []
    for role, part in shown.items():
        name, colour, marker = looks[role]
        size = 3.5 if len(part.layers) <= 16 else 2
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": size}
        look["linestyle"] = "--" if role is Role.CONTROL else "-"  # often on top of another
        axes.plot(part.layers, across_tasks(part.values, 0.5), linewidth=1.6, **look)
        quartiles = across_tasks(part.values, 0.25), across_tasks(part.values, 0.75)
        axes.fill_between(part.layers, *quartiles, color=colour, alpha=0.15, linewidth=0)
        many = "models" if role is Role.CONTROL else "model"
        handles.append(legend_line(f"{name} {many}", **look))
    most = max(int(part.n.max()) for part in shown.values()) - 1
    if most < CEILING_IN_SIGHT * max(np.nanmax(part.values) for part in shown.values()):
        axes.axhline(most, color=GREY, linestyle=":", linewidth=1)
        handles.append(legend_line("n − 1: there cannot be more", color=GREY, linestyle=":"))
    layer_axis(axes, all_layers(shown.values()))
    axes.set_ylim(0, axes.get_ylim()[1] * 1.02)
    axes.set_xlabel("layer", fontsize=NORMAL)
    axes.set_ylabel("dimensions for 99% of the variance", fontsize=NORMAL)
    n_tasks = max(len(part.tasks) for part in shown.values())
    finish(
        figure,
        "Figure 5: how many dimensions a task's prompts take, by layer",
        f"line: median over {counted(n_tasks, 'task')}, band: middle half"
        f"{'; a control model on its own task' if Role.CONTROL in shown else ''}; "
        f"{examples_text(shown.values())} per task{numbers.pooling_text}",
        handles,
    )
    return figure


def correlations(numbers: PaperNumbers) -> Figure:
    """Figure 6: Spearman's ρ over tasks, by layer, one panel per property of the tasks.

    Raises:
        NothingToDrawError: nothing was correlated.
    """
    shown = [found for found in numbers.correlations if np.isfinite(found.rho)]
    names = [name for name in PROPERTY_NAMES if any(found.property == name for found in shown)]
    if not shown:
        raise NothingToDrawError("there is no similarity to correlate with properties of tasks")
    figure = Figure(figsize=(max(7.0, 3.1 * len(names)), 3.9))
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    roles = [role for role in COMPARED if any(found.role == role for found in shown)]
    for axes, name in zip(panels, names, strict=True):
        for role in roles:
            part = [found for found in shown if (found.role, found.property) == (role, name)]
            layers, rho = [found.layer for found in part], [found.rho for found in part]
            axes.plot(layers, rho, color=COLOURS[role], linewidth=1.4)
            significance_marks(axes, layers, rho, [found.q for found in part], role)
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.set_title(PROPERTY_NAMES[name], fontsize=NORMAL, loc="left")
        axes.set_xlabel("layer", fontsize=NORMAL)
        layer_axis(axes, sorted({found.layer for found in shown}))
        axes.set_ylim(-1.05, 1.05)
    panels[0].set_ylabel("Spearman's ρ over tasks", fontsize=NORMAL)
    n_tasks = max(found.n for found in shown)
    missing = "".join(f"; {note}" for note in numbers.notes)
    finish(
        figure,
        "Figure 6: what goes along with a task's similarity to its control model",
        f"{counted(n_tasks, 'task')}; filled: q < {SIGNIFICANT} (permutation test, Benjamini-Hochberg "
        f"over {len(shown)} tests){missing}{numbers.pooling_text}",
        [
            *role_handles(dict.fromkeys(roles)),
            legend_line("not significant", color=GREY, marker="o", markerfacecolor="white"),
        ],
    )
    return figure


def _scatter(axes: Axes, panel: Scatter, clusters: np.ndarray, names: Sequence[str]) -> None:
    points = np.array(panel.points)
    for name in names:
        here = points[clusters == name]
        look = _cluster_look(names, name)
        line = 0 if look["marker"] in "o^" else 0.8  # x and + are made of lines
        axes.scatter(here[:, 0], here[:, 1], s=8, alpha=0.6, linewidths=line, **look)
    axes.set_xlabel(_axis_name(panel, 0), fontsize=SMALL)
    axes.set_ylabel(_axis_name(panel, 1), fontsize=SMALL)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#C8C8C8")


def _axis_name(panel: Scatter, axis: int) -> str:
    return "" if panel.shares is None else f"PC {axis + 1}: {panel.shares[axis]:.0%}"


def _cluster_look(names: Sequence[str], name: str) -> dict[str, Any]:
    """A colour and a shape: no two of up to 24 clusters have both in common."""
    shape, colour = divmod(names.index(name), len(CLUSTER_COLOURS))
    return {
        "color": CLUSTER_COLOURS[colour],
        "marker": CLUSTER_MARKERS[shape % len(CLUSTER_MARKERS)],
    }
