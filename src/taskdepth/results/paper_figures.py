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

from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from taskdepth.results.drawing import (
    COLOURS,
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
from taskdepth.results.findings import counted
from taskdepth.results.layer_grid import (
    COMPARED,
    FLOOR,
    MEASURE,
    MEASURE_NAME,
    ROLE_NAMES,
    LayerGrid,
    across_tasks,
)
from taskdepth.results.paper_numbers import Agreement, PaperNumbers, Scatter
from taskdepth.results.table import LayerTable
from taskdepth.results.task_maps import MEASURES
from taskdepth.types import Role

SIGNIFICANT = 0.05  # of q
CONTROL_COLOUR = "#009E73"
PROPERTY_NAMES = {
    "flesch_kincaid": "Flesch-Kincaid grade",
    "coleman_liau": "Coleman-Liau index",
    "training_size": "training size",
}
# clusters by colour and shape: twelve colours alone are told apart by nobody
CLUSTER_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
CLUSTER_MARKERS = ("o", "x", "^", "+")
AGREEMENT_STYLES = {"centroid_cosine": "-", "covariance_cosine": "--"}
MAP_COLOURS = "PuOr"  # two hues that any colour vision tells apart, white in between


def save_paper_figures(table: LayerTable, numbers: PaperNumbers, folder: Path) -> dict[str, Path]:
    """Write `paper_fig2.png` to `paper_fig7.png`, those that there is something for."""
    makers: dict[str, Callable[[], Figure]] = {
        "paper_fig2": lambda: similarity_boxes(table, numbers),
        "paper_fig3": lambda: similarity_boxes_by_cluster(table, numbers),
        "paper_fig4": lambda: scatters(numbers),
        "paper_fig5": lambda: dimensions(numbers),
        "paper_fig6": lambda: correlations(numbers),
        "paper_fig7": lambda: task_maps(numbers),
    }
    return save(makers, folder)


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
        seen = _without(found, numbers.unseen)
        _boxes(axes, seen, place, len(shown), COLOURS[role], n_layers=len(layers))
        floor = numbers.similarity(table, role, FLOOR)
        axes.plot(floor.layers, across_tasks(floor.values, 0.5), color=COLOURS[role], linestyle=":")
        unseen = _only(found, numbers.unseen)
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
    n_tasks = max(len(set(found.tasks) - set(numbers.unseen)) for found in shown.values())
    finish(
        figure,
        "Figure 2: similarity to the control models, by layer",
        f"box: middle half of {counted(n_tasks, 'task')}, line: median, whiskers: to 1.5 boxes, points "
        f"beyond; {examples_text(shown.values())} per task{_pooling_text(numbers)}",
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
        f"1.5 boxes, points beyond; {examples_text(shown.values())} per task{_pooling_text(numbers)}",
        [
            Patch(color=COLOURS[role], label=f"{ROLE_NAMES[role]} vs control models")
            for role in shown
        ],
    )
    return figure


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
            f"{_role_name(panel.role)}, layer {panel.layer}", fontsize=NORMAL, loc="left"
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
        f"{_pooling_text(numbers)}",
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
    layer_axis(axes, all_layers(shown.values()))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("layer", fontsize=NORMAL)
    axes.set_ylabel("dimensions for 99% of the variance", fontsize=NORMAL)
    n_tasks = max(len(part.tasks) for part in shown.values())
    finish(
        figure,
        "Figure 5: how many dimensions a task's prompts take, by layer",
        f"line: median over {counted(n_tasks, 'task')}, band: middle half; a control model on its own "
        f"task; {examples_text(shown.values())} per task, so at most one dimension less"
        f"{_pooling_text(numbers)}",
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
            _marks(axes, layers, rho, [found.q for found in part], role)
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
        f"over {len(shown)} tests){missing}{_pooling_text(numbers)}",
        [
            *role_handles(dict.fromkeys(roles)),
            legend_line("not significant", color=GREY, marker="o", markerfacecolor="white"),
        ],
    )
    return figure


def task_maps(numbers: PaperNumbers) -> Figure:
    """Figure 7: task × task similarity at the layers of figure 4, and its agreement with the clusters.

    Raises:
        NothingToDrawError: no map has a value.
    """
    maps = numbers.maps
    role = maps.roles[-1]  # the experimental model, if there is one
    layers = sorted({panel.layer for panel in numbers.scatters})
    if not any(maps.at(m, role, k).isfinite().any() for m in MEASURES for k in layers):
        raise NothingToDrawError("no two tasks could be compared at the chosen layers")
    side_in = 2.9 if len(layers) <= 4 else 2.2
    figure = Figure(figsize=(max(9.0, side_in * len(layers) + 2.2), 2 * side_in + 4.3))
    halves = figure.add_gridspec(2, 1, height_ratios=[2 * side_in, 2.2])
    panels = halves[0].subgridspec(len(MEASURES), len(layers)).subplots(squeeze=False)
    curves = halves[1].subgridspec(1, 2).subplots(squeeze=False)[0]
    for row, measure in enumerate(MEASURES):
        for column, layer in enumerate(layers):
            axes = panels[row, column]
            image = _map(axes, maps.at(measure, role, layer).numpy(), maps.clusters)
            name = measure.replace("_", " ")
            axes.set_title(f"{name}, layer {layer}", fontsize=NORMAL, loc="left")
            if layer == layers[0]:
                _name_clusters(axes, maps.clusters)
    bar = figure.colorbar(image, ax=panels, extend="both", shrink=0.8, aspect=40)
    bar.set_label("similarity", fontsize=NORMAL)
    bar.ax.tick_params(labelsize=SMALL, length=2)
    _agreement(curves[0], numbers.agreements, "silhouette", "silhouette of the clusters")
    _agreement(curves[1], numbers.agreements, "adjusted_rand", "adjusted Rand index of groups")
    roles = [role for role in COMPARED if role in maps.roles]
    handles = [
        *role_handles(dict.fromkeys(roles)),
        *(
            legend_line(f"{name}: {MEASURES[name]}", color=GREY, linestyle=style)
            for name, style in AGREEMENT_STYLES.items()
        ),
        legend_line("not significant", color=GREY, marker="o", markerfacecolor="white"),
        Patch(**UNDEFINED, label="undefined"),
    ]
    finish(
        figure,
        f"Figure 7: which tasks share a representation ({_role_name(role)})",
        f"maps: {counted(len(maps.tasks), 'task')} sorted by cluster, {maps.n} prompts of each; below: "
        f"agreement with the clusters, filled: q < {SIGNIFICANT} (clusters permuted, Benjamini-Hochberg "
        f"over {len(numbers.agreements)} maps){_pooling_text(numbers)}",
        handles,
    )
    return figure


def _similarities(table: LayerTable, numbers: PaperNumbers) -> dict[Role, LayerGrid]:
    found = {role: numbers.similarity(table, role, MEASURE) for role in COMPARED}
    shown = {role: part for role, part in found.items() if np.isfinite(part.values).any()}
    if not shown:
        raise NothingToDrawError("the layer table has no similarity to control models")
    return shown


def _without(shown: LayerGrid, tasks: Sequence[str]) -> LayerGrid:
    return _chosen(shown, [task not in tasks for task in shown.tasks])


def _only(shown: LayerGrid, tasks: Sequence[str]) -> LayerGrid:
    return _chosen(shown, [task in tasks for task in shown.tasks])


def _chosen(shown: LayerGrid, keep: Sequence[bool]) -> LayerGrid:
    rows = [i for i, kept in enumerate(keep) if kept]
    return LayerGrid(
        tuple(shown.tasks[i] for i in rows),
        tuple(shown.clusters[i] for i in rows),
        shown.layers,
        shown.values[rows],
        shown.lower[rows],
        shown.upper[rows],
        shown.n[rows],
    )


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


def _marks(
    axes: Axes, layers: Sequence[int], values: Sequence[float], q: Sequence[float], role: Role
) -> None:
    """Filled where q is below `SIGNIFICANT`."""
    size = 4.5 if len(layers) <= 16 else 3
    for layer, value, chance in zip(layers, values, q, strict=True):
        axes.plot(
            layer,
            value,
            marker=MARKERS[role],
            markersize=size,
            color=COLOURS[role],
            markerfacecolor=COLOURS[role] if chance < SIGNIFICANT else "white",
            markeredgewidth=0.9,
        )


def _map(axes: Axes, values: Float[np.ndarray, "t t"], clusters: Sequence[str]) -> Any:
    axes.patch.set(**UNDEFINED)
    image = axes.imshow(values, vmin=-1, vmax=1, cmap=MAP_COLOURS, interpolation="none")
    for edge in _edges(clusters)[1:-1]:
        axes.axhline(edge, color="black", linewidth=0.4, alpha=0.5)
        axes.axvline(edge, color="black", linewidth=0.4, alpha=0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return image


def _edges(clusters: Sequence[str]) -> list[float]:
    sizes = [len(list(group)) for _, group in groupby(clusters)]
    return [-0.5, *(float(end) - 0.5 for end in np.cumsum(sizes))]


def _name_clusters(axes: Axes, clusters: Sequence[str]) -> None:
    edges = _edges(clusters)
    names = [name for name, _ in groupby(clusters)]
    centres = [(low + high) / 2 for low, high in pairwise(edges)]
    axes.set_yticks(centres, [short(name, 24) for name in names], fontsize=SMALL - 1)
    axes.tick_params(length=0)


def _agreement(axes: Axes, agreements: Sequence[Agreement], name: str, title: str) -> None:
    shown = {
        key: [found for found in agreements if (found.role, found.measure) == key]
        for key in dict.fromkeys((found.role, found.measure) for found in agreements)
    }
    for (role_name, measure), part in shown.items():
        role = Role(role_name)
        layers, values = [found.layer for found in part], [getattr(found, name) for found in part]
        axes.plot(
            layers, values, color=COLOURS[role], linestyle=AGREEMENT_STYLES[measure], linewidth=1.4
        )
        _marks(axes, layers, values, [getattr(found, f"{name}_q") for found in part], role)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_title(title, fontsize=NORMAL, loc="left")
    axes.set_xlabel("layer", fontsize=NORMAL)
    layer_axis(axes, sorted({found.layer for found in agreements}))


def _role_name(role: str) -> str:
    return f"{ROLE_NAMES[Role(role)]} model"


def _pooling_text(numbers: PaperNumbers) -> str:
    return "" if numbers.pooling == "last_token" else f"; pooling: {numbers.pooling}"
