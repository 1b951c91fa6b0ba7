"""The PNG figures of a run: heat maps by task and layer, probe curves, regions.

No pyplot: a figure is made, returned and forgotten, whatever the caller's backend and state.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from taskdepth.errors import ResultsError
from taskdepth.files import replacing
from taskdepth.layers import depth_of
from taskdepth.results.findings import (
    COMPARED,
    FLOOR,
    MEASURE,
    MEASURE_NAME,
    ROLE_NAMES,
    LayerGrid,
    Placement,
    Regions,
    across_tasks,
    grid,
    region_names,
    spans,
)
from taskdepth.results.table import LayerTable
from taskdepth.types import Role

DPI = 150
# Okabe & Ito 2008, https://jfly.uni-koeln.de/color/: told apart with any colour vision
COLOURS = {Role.PRETRAINED: "#0072B2", Role.EXPERIMENTAL: "#D55E00"}
ADAPTED = "#009E73"
MARKERS = {Role.PRETRAINED: "o", Role.EXPERIMENTAL: "s"}
GREY = "#555555"
LONGEST_NAME = 38  # characters of a task or cluster name that a figure shows
SMALL, NORMAL, LARGE = 7.5, 9, 11  # points


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
    }
    saved = {}
    for name, make in makers.items():
        try:
            figure = make()
        except NothingToDrawError:
            continue
        saved[name] = folder / f"{name}.png"
        with replacing(saved[name]) as partial:
            figure.savefig(partial, format="png", dpi=DPI)
    return saved


class NothingToDrawError(ResultsError):
    """The table has no row for the figure that was asked for."""


def similarity_heatmap(table: LayerTable, role: Role, regions: Regions | None = None) -> Figure:
    """Debiased linear CKA between a compared model and each task's control model.

    Raises:
        NothingToDrawError: the table has no such rows.
    """
    shown = similarity_grid(table, role)
    n_tasks, n_layers = shown.values.shape
    row, column = np.clip(5 / n_tasks, 0.18, 0.36), np.clip(5 / n_layers, 0.24, 0.5)
    left, right = (
        0.25 + 0.075 * max(len(_short(name)) for name in names)
        for names in (shown.tasks, shown.clusters)
    )
    height = row * n_tasks + 2.3
    figure = _figure(max(left + column * n_layers + right, 6.5), height)
    axes = figure.add_subplot()
    axes.patch.set(facecolor="#E4E4E4", hatch="////", edgecolor="#A8A8A8")  # shows through NaN
    image = axes.imshow(shown.values, vmin=0, vmax=1, aspect="auto", interpolation="none")
    axes.set_yticks(range(n_tasks), [_short(task) for task in shown.tasks], fontsize=SMALL)
    step = -(-n_layers // 32)
    axes.set_xticks(range(n_layers)[::step], shown.layers[::step], fontsize=SMALL)
    axes.set_xlabel("layer", fontsize=NORMAL)
    axes.tick_params(length=2)
    axes.spines[:].set_visible(False)
    _mark_clusters(axes, shown)
    for _, _, last in region_names(regions)[:-1]:
        edge = sum(layer <= last for layer in shown.layers) - 0.5
        axes.axvline(edge, color="white", linewidth=3.5)
        axes.axvline(edge, color="black", linewidth=1.5, linestyle=(0, (4, 2)))
    below = np.nanmin(shown.values, initial=0.0) < 0
    bar = figure.colorbar(
        image, ax=axes, location="bottom", extend="min" if below else "neither",
        shrink=0.6, aspect=40, pad=0.25 / height,
    )  # fmt: skip
    bar.set_label(f"{MEASURE_NAME} (1: the same up to rotation and scale)", fontsize=NORMAL)
    bar.ax.tick_params(labelsize=SMALL)
    undefined = int(np.isnan(shown.values).sum())
    if undefined:
        patch = Patch(facecolor="#E4E4E4", hatch="////", edgecolor="#A8A8A8", label="undefined")
        figure.legend(handles=[patch], loc="lower right", fontsize=SMALL, frameon=False)
    _title(
        figure,
        f"How alike the {ROLE_NAMES[role]} model and each task's control model are",
        f"{n_tasks} tasks, {_examples(shown.n)} per task; {_region_text(regions)}",
    )
    return figure


def probe_accuracy_by_cluster(table: LayerTable) -> Figure:
    """Held-out accuracy of the label probes by layer: one panel per cluster, both compared models.

    Raises:
        NothingToDrawError: the table has no label probes.
    """
    probe = {"kind": "probe", "target": "label"}
    grids = {role: grid(table, **probe, role=role, name="accuracy") for role in COMPARED}
    majority = grid(table, **probe, name="majority")
    shown = {role: found for role, found in grids.items() if found.tasks}
    if not shown:
        raise NothingToDrawError("the layer table has no label probes to draw")
    clusters = list(dict.fromkeys(c for found in shown.values() for c in found.clusters))
    columns = min(4, len(clusters))
    rows = -(-len(clusters) // columns)
    figure = _figure(max(2.6 * columns, 6.5), 1.9 * rows + 1.5)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, cluster in zip(panels.flat, clusters, strict=False):
        n_tasks = 0
        for role, found in shown.items():
            part = found.of_cluster(cluster)
            n_tasks = max(n_tasks, len(part.tasks))
            _median_and_band(axes, part, role, (0.0, 1.0))
        floor = majority.of_cluster(cluster)
        axes.plot(floor.layers, across_tasks(floor.values, 0.5), color=GREY, linestyle="--")
        axes.set_title(
            f"{_short(cluster)} ({n_tasks})", fontsize=NORMAL, loc="left", wrap=False
        )
        axes.set_ylim(0, 1.02)
        _layer_axis(axes, _all_layers(shown.values()))
    for axes in panels.flat[len(clusters) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("accuracy", fontsize=NORMAL)
    for column in range(columns):  # the lowest panel of each column carries the layers
        lowest = panels[(len(clusters) - 1 - column) // columns, column]
        lowest.set_xlabel("layer", fontsize=NORMAL)
        lowest.tick_params(labelbottom=True)
    handles = [*_role_handles(shown), _line(GREY, "--", "majority class")]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=NORMAL, frameon=False)
    n = np.concatenate([found.n.ravel() for found in shown.values()])
    _title(
        figure,
        "Where labels can be read: accuracy of linear probes, by cluster",
        "line: median over the cluster's tasks (their number in brackets), band: their range; "
        f"{_examples(n)} per task",
    )
    return figure


def task_identity(table: LayerTable) -> Figure:
    """Accuracy of the probes that name the task, or its cluster, of a prompt.

    Raises:
        NothingToDrawError: the table has no such probes.
    """
    figure = _figure(8.6, 4.2)
    panels = figure.subplots(1, 2, sharey=True)
    drawn: dict[Role, LayerGrid] = {}
    for axes, target in zip(panels, ("task", "cluster"), strict=True):
        for role in COMPARED:
            probe = {"kind": "probe", "target": target, "role": role}
            accuracy = grid(table, **probe, name="accuracy")
            if not accuracy.tasks:
                continue
            drawn[role] = accuracy
            _median_and_band(axes, accuracy, role, None)
            for name, style in (("control_task_accuracy", ":"), ("majority", "--")):
                floor = grid(table, **probe, name=name)
                colour = GREY if name == "majority" else COLOURS[role]
                axes.plot(floor.layers, across_tasks(floor.values, 0.5), color=colour, ls=style)
            axes.fill_between(
                accuracy.layers, accuracy.lower[0], accuracy.upper[0], color=COLOURS[role],
                alpha=0.2, linewidth=0,
            )  # fmt: skip
            _layer_axis(axes, accuracy.layers)
        axes.set_title(f"which {target}?", fontsize=NORMAL, loc="left")
        axes.set_xlabel("layer", fontsize=NORMAL)
        axes.set_ylim(0, 1.02)
    if not drawn:
        raise NothingToDrawError("the layer table has no task-identity probes to draw")
    panels[0].set_ylabel("accuracy", fontsize=NORMAL)
    handles = [
        *_role_handles(drawn),
        _line(GREY, ":", "control task (random labels)"),
        _line(GREY, "--", "majority class"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=NORMAL, frameon=False)
    _title(
        figure,
        "Where the layers tell tasks and clusters apart",
        f"linear probes, {_examples(np.concatenate([g.n.ravel() for g in drawn.values()]))}; "
        "band: 95% interval",
    )
    return figure


def region_curves(
    table: LayerTable, regions: Regions | None = None, selection: Placement | None = None
) -> Figure:
    """Similarity to the control models by layer, the regions found and the blocks to adapt.

    Raises:
        NothingToDrawError: the table has no such rows.
    """
    grids = {role: _similarity_rows(table, role, MEASURE) for role in COMPARED}
    shown = {role: found for role, found in grids.items() if found.tasks}
    if not shown:
        raise NothingToDrawError("the layer table has no similarity to control models to draw")
    figure = _figure(8.6, 4.6)
    axes = figure.add_subplot()
    for role, found in shown.items():
        _median_and_band(axes, found, role, (0.25, 0.75))
        floor = _similarity_rows(table, role, FLOOR)
        axes.plot(floor.layers, across_tasks(floor.values, 0.5), color=COLOURS[role], ls=":")
    handles = [*_role_handles(shown), _line(GREY, ":", "shuffled rows (chance)")]
    found_regions = region_names(regions)
    if regions is not None and found_regions:
        for boundary, (low, high) in zip(regions.boundaries, regions.intervals, strict=True):
            axes.axvspan(low + 0.5, high + 0.5, color="#E8E8E8", zorder=0, linewidth=0)
            axes.axvline(boundary + 0.5, color="black", linewidth=1.2, ls=(0, (4, 2)), zorder=1)
        handles.append(_line("black", (0, (4, 2)), "region boundary"))
        if any(low < high for low, high in regions.intervals):
            handles.append(Patch(color="#E8E8E8", label="its 95% interval"))
    if selection is not None:
        layers = [depth_of(block) for block in selection.blocks]
        marks = axes.scatter(
            layers, np.full(len(layers), -0.12), marker="s", s=42, color=ADAPTED,
            clip_on=False, zorder=3, label="blocks to adapt",
        )  # fmt: skip
        handles.append(marks)
    axes.set_ylim(-0.17, 1.02)
    layers_shown = _all_layers(shown.values())
    _layer_axis(axes, layers_shown)
    axes.set_xlim(layers_shown[0] - 0.6, layers_shown[-1] + 0.6)
    axes.set_xlabel("layer", fontsize=NORMAL)
    axes.set_ylabel(MEASURE_NAME, fontsize=NORMAL)
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=NORMAL, frameon=False)
    n = np.concatenate([found.n.ravel() for found in shown.values()])
    n_tasks = max(len(found.tasks) for found in shown.values())
    adapted = f"; blocks to adapt: {spans(selection.blocks)}" if selection else ""
    _title(
        figure,
        "Similarity to the control models by layer, and the regions it shows",
        f"line: median over {n_tasks} tasks, band: middle half; {_examples(n)} per task; "
        f"{_region_text(regions)}{adapted}",
    )
    return figure


def similarity_grid(table: LayerTable, role: Role) -> LayerGrid:
    """The values of the heat map of one compared model.

    Raises:
        NothingToDrawError: the table has no such rows.
    """
    found = _similarity_rows(table, role, MEASURE)
    if not found.tasks:
        raise NothingToDrawError(
            f"the layer table has no {MEASURE} of the {ROLE_NAMES[role]} with control models"
        )
    return found


def _similarity_rows(table: LayerTable, role: Role, name: str) -> LayerGrid:
    return grid(table, kind="similarity", role=role, reference=Role.CONTROL, name=name)


def _figure(width_in: float, height_in: float) -> Figure:
    figure = Figure(figsize=(width_in, height_in), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _title(figure: Figure, title: str, caption: str) -> None:
    width = int(figure.get_figwidth() * 13)  # characters of the caption's size that fit
    figure.suptitle(title, fontsize=LARGE, fontweight="bold", x=0.01, ha="left")
    # a title of an invisible axis would not do: constrained layout places only supxlabel outside
    figure.supxlabel(textwrap.fill(caption, width), fontsize=SMALL, color=GREY, x=0.01, ha="left")


def _median_and_band(
    axes: Axes, shown: LayerGrid, role: Role, band: tuple[float, float] | None
) -> None:
    axes.plot(
        shown.layers, across_tasks(shown.values, 0.5), color=COLOURS[role], linewidth=1.8,
        marker=MARKERS[role], markersize=3.5,
    )  # fmt: skip
    if band is not None and len(shown.tasks) > 1:
        low, high = (across_tasks(shown.values, q) for q in band)
        axes.fill_between(shown.layers, low, high, color=COLOURS[role], alpha=0.2, linewidth=0)


def _mark_clusters(axes: Axes, shown: LayerGrid) -> None:
    """White lines between the clusters, and their names at the right."""
    centres, names, start = [], [], 0
    for name, group in groupby(shown.clusters):
        end = start + len(list(group))
        centres.append((start + end - 1) / 2)
        names.append(_short(name))
        if start:
            axes.axhline(start - 0.5, color="white", linewidth=2)
        start = end
    right = axes.secondary_yaxis("right")
    right.set_yticks(centres, names, fontsize=SMALL)
    right.tick_params(length=0)
    right.spines[:].set_visible(False)


def _layer_axis(axes: Axes, layers: Sequence[int]) -> None:
    step = next(step for step in (1, 2, 4, 5, 10, 20, 50, 1000) if len(layers) <= 10 * step)
    axes.set_xticks([layer for layer in layers if layer == layers[0] or layer % step == 0])
    axes.tick_params(labelsize=SMALL, length=2)
    axes.grid(color="#E0E0E0", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _all_layers(grids: Iterable[LayerGrid]) -> list[int]:
    return sorted({layer for found in grids for layer in found.layers})


def _role_handles(roles: Iterable[Role]) -> list[Line2D]:
    return [
        Line2D([], [], color=COLOURS[role], marker=MARKERS[role], markersize=4,
               label=f"{ROLE_NAMES[role]} model")
        for role in roles
    ]  # fmt: skip


def _line(colour: str, style: str | tuple[int, tuple[int, int]], label: str) -> Line2D:
    return Line2D([], [], color=colour, linestyle=style, label=label)


def _region_text(regions: Regions | None) -> str:
    named = [f"{name} {spans(range(a, b + 1))}" for name, a, b in region_names(regions)]
    return f"regions: {', '.join(named)}" if named else "no regions found"


def _examples(n: np.ndarray) -> str:
    counted = n[n > 0]
    if not counted.size:
        return "n unknown"
    low, high = int(counted.min()), int(counted.max())
    return f"n = {low:,} examples" if low == high else f"n = {low:,} to {high:,} examples"


def _short(name: str) -> str:
    """`name` as matplotlib may show it: not too long, and never taken for mathematics."""
    cut = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    return " ".join(cut.split()).replace("$", r"\$")
