"""Interactive plots for the report: each a plotly figure as JSON, with its title and legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Any

import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from plotly.graph_objects import Figure
from plotly.subplots import make_subplots

from taskdepth.layers import depth_of
from taskdepth.results.drawing import ADAPTED, COLOURS, LONGEST_NAME
from taskdepth.results.findings import Placement, Regions, counted, region_names
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
from taskdepth.results.table import LayerTable
from taskdepth.types import Role

GREY = "#888888"  # readable on white and on near-black


FAINT = "rgba(136, 136, 136, 0.25)"


@dataclass(frozen=True, slots=True)
class Plot:
    """One interactive figure: `spec` is plotly's JSON, `alt` says in words what is drawn.

    `legend` holds the label, the colour and the CSS border style of each line.
    """

    name: str
    title: str
    text: str
    alt: str
    spec: Markup
    min_width_px: int = 0
    legend: tuple[tuple[str, str, str], ...] = ()


def plots(
    table: LayerTable, regions: Regions | None, selection: Placement | None
) -> tuple[Plot, ...]:
    """Every figure that `table` has rows for."""
    drawn = (
        *(_heatmap_plot(table, role, regions) for role in COMPARED[::-1]),
        _labels_plot(table),
        _identity_plot(table),
        _regions_plot(table, regions, selection),
    )
    return tuple(plot for plot in drawn if plot is not None)


def _heatmap_plot(table: LayerTable, role: Role, regions: Regions | None) -> Plot | None:
    shown = similarity_grid(table, role)
    if not shown.tasks:
        return None
    n_tasks = len(shown.tasks)
    figure = Figure(layout=_layout(130 + max(17 * n_tasks, 100)))
    scale: dict[str, Any] = {"orientation": "h", "thickness": 12, "lenmode": "pixels", "len": 240}
    scale |= {"x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom"}
    figure.add_heatmap(
        z=shown.values,
        x=shown.layers,
        zmin=0,
        zmax=1,
        colorscale="Viridis",
        colorbar=scale | {"title": {"text": MEASURE_NAME, "side": "top"}},
        text=_hover(shown, similarity_grid(table, role, FLOOR)),
        hovertemplate="%{text}<extra></extra>",
    )
    start = 0
    beside = {"x": 1, "xref": "paper", "xanchor": "left", "showarrow": False, "font": {"size": 10}}
    for cluster, group in groupby(shown.clusters):
        end = start + len(list(group))
        figure.add_annotation(y=(start + end - 1) / 2, text=_plain(cluster), **beside)
        if start:
            figure.add_hline(y=start - 0.5, line={"color": "white", "width": 2})
        start = end
    for _, _, last in region_names(regions)[:-1]:
        figure.add_vline(x=last + 0.5, line={"color": "white", "width": 4})
        figure.add_vline(x=last + 0.5, line={"color": "black", "width": 1.5, "dash": "dash"})
    names = [_plain(task) for task in shown.tasks]
    figure.update_yaxes(tickvals=list(range(n_tasks)), ticktext=names, autorange="reversed")
    figure.update_yaxes(tickfont={"size": 10}, showgrid=False)
    figure.update_xaxes(title="layer", showgrid=False, dtick=1 if len(shown.layers) <= 16 else 2)
    left_px, right_px = (
        10 + 6 * min(max(len(name) for name in column), LONGEST_NAME)  # of 10 px each
        for column in (shown.tasks, shown.clusters)
    )
    figure.update_layout(plot_bgcolor=FAINT, margin={"t": 70, "r": right_px})
    return Plot(
        f"heatmap-{role}",
        f"The {ROLE_NAMES[role]} model and the control models",
        f"How alike the {ROLE_NAMES[role]} model and the model tuned on one task alone are, on "
        "that task’s prompts. Point at a cell for its interval. Grey is undefined; dashed lines "
        "are region boundaries.",
        f"Heat map of {MEASURE_NAME}: {counted(n_tasks, 'task')} by {len(shown.layers)} layers.",
        _spec(figure),
        min_width_px=left_px + right_px + max(260, 13 * len(shown.layers)),
    )


def _regions_plot(
    table: LayerTable, regions: Regions | None, selection: Placement | None
) -> Plot | None:
    curves = []
    for role in COMPARED:
        curves.append(_curve(similarity_grid(table, role), role, band=(0.25, 0.75)))
        floor = similarity_grid(table, role, FLOOR)
        curves.append(_curve(floor, role, f"shuffled rows, {ROLE_NAMES[role]}", dash="dot"))
    curves = [curve for curve in curves if curve.layers]
    if not curves:
        return None
    legend = [*_role_legend(curves), ("shuffled rows (chance)", GREY, "dotted")]
    figure = _curves_figure({"": curves}, height_px=320)
    for low, high in regions.intervals if regions and regions.found else ():
        edges = {"x0": low + 0.5, "x1": high + 0.5}
        figure.add_vrect(**edges, fillcolor=FAINT, line_width=0, layer="below")
    for _, _, last in region_names(regions)[:-1]:
        figure.add_vline(x=last + 0.5, line={"color": GREY, "dash": "dash", "width": 1.5})
    if selection is not None:
        depths = [depth_of(block) for block in selection.blocks]
        marker = {"symbol": "square", "size": 9, "color": ADAPTED}
        place = {"x": depths, "y": [-0.1] * len(depths), "mode": "markers", "marker": marker}
        figure.add_scatter(**place, name="adapted", hoverinfo="x+name")
        legend.append(("blocks to adapt", ADAPTED, "double"))
    figure.update_yaxes(title=MEASURE_NAME, range=[-0.17, 1.03])
    return Plot(
        "regions",
        "Similarity by layer, and the regions",
        "Lines: median over tasks; bands: the middle half of the tasks; dashed: region boundaries, "
        "their 95% interval behind them.",
        f"Curves of {MEASURE_NAME} with the control models by layer.",
        _spec(figure),
        legend=tuple(legend),
    )


def _labels_plot(table: LayerTable) -> Plot | None:
    probe = {"kind": "probe", "target": "label"}
    shown = {role: grid(table, **probe, role=role, name="accuracy") for role in COMPARED}
    majority = grid(table, **probe, name="majority")
    clusters = list(dict.fromkeys(name for found in shown.values() for name in found.clusters))
    if not clusters:
        return None
    panels = {
        cluster: [
            *(_curve(shown[role].of_cluster(cluster), role, band=(0, 1)) for role in COMPARED),
            _curve(majority.of_cluster(cluster), None, "majority class", dash="dash"),
        ]
        for cluster in clusters
    }
    every = [curve for curves in panels.values() for curve in curves]
    return Plot(
        "labels",
        "Where labels can be read",
        "Held-out accuracy of linear label probes, by cluster. Lines: median over the cluster’s "
        "tasks; bands: their range.",
        f"Label-probe accuracy by layer, one panel for each of {len(clusters)} clusters.",
        _spec(_curves_figure(panels, height_px=210)),
        min_width_px=200 * min(3, len(panels)),
        legend=(*_role_legend(every), ("majority class", GREY, "dashed")),
    )


def _identity_plot(table: LayerTable) -> Plot | None:
    panels = {}
    for target in ("task", "cluster"):
        probe = {"kind": "probe", "target": target}
        curves = []
        for role in COMPARED:
            curves.append(_curve(grid(table, **probe, role=role, name="accuracy"), role))
            floor = grid(table, **probe, role=role, name="control_task_accuracy")
            curves.append(_curve(floor, role, f"control task, {ROLE_NAMES[role]}", dash="dot"))
        majority = grid(table, **probe, name="majority")
        curves.append(_curve(majority, None, "majority class", dash="dash"))
        if any(curve.layers for curve in curves):
            panels[f"which {target}?"] = curves
    if not panels:
        return None
    every = [curve for curves in panels.values() for curve in curves]
    floors = ("control task", GREY, "dotted"), ("majority class", GREY, "dashed")
    return Plot(
        "identity",
        "Where the layers tell tasks and clusters apart",
        "Held-out accuracy of linear probes that name the task, or the cluster, of a prompt; "
        "bands: 95% interval. A control task has the same prompts under random labels.",
        "Accuracy of the probes for task and for cluster identity, by layer.",
        _spec(_curves_figure(panels, height_px=260)),
        min_width_px=520,
        legend=(*_role_legend(every), *floors),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Curve:
    label: str
    layers: tuple[int, ...]
    middle: Float[np.ndarray, " layers"]
    low: Float[np.ndarray, " layers"]
    high: Float[np.ndarray, " layers"]
    look: dict[str, object]


def _curve(
    shown: LayerGrid,
    role: Role | None,
    label: str | None = None,
    *,
    band: tuple[float, float] | None = None,
    dash: str = "solid",
) -> _Curve:
    """The median over tasks; around it the band between two quantiles, or else the interval."""
    if band is None:
        low, high = across_tasks(shown.lower, 0.5), across_tasks(shown.upper, 0.5)
    else:
        low, high = across_tasks(shown.values, band[0]), across_tasks(shown.values, band[1])
    look: dict[str, object] = {"color": COLOURS[role] if role else GREY, "dash": dash, "width": 2}
    name = label or (f"{ROLE_NAMES[role]} model" if role else "")
    return _Curve(name, shown.layers, across_tasks(shown.values, 0.5), low, high, look)


def _curves_figure(panels: Mapping[str, Sequence[_Curve]], height_px: int) -> Any:
    """One panel of curves over layers per title, three in a row."""
    n_columns = min(3, len(panels))
    n_rows = -(-len(panels) // n_columns)
    figure = make_subplots(
        n_rows,
        n_columns,
        shared_yaxes=True,
        horizontal_spacing=0.03,
        vertical_spacing=0.25 / n_rows,
        subplot_titles=[_plain(title) for title in panels],
    )
    figure.update_layout(_layout(height_px * n_rows + 80))
    for index, curves in enumerate(panels.values()):
        place = {"row": index // n_columns + 1, "col": index % n_columns + 1}
        for curve in (curve for curve in curves if curve.layers):
            if curve.look["dash"] == "solid":
                _add_band(figure, curve, place)
            figure.add_scatter(
                x=curve.layers,
                y=curve.middle,
                name=curve.label,
                line=curve.look,
                mode="lines+markers" if curve.look["dash"] == "solid" else "lines",
                marker={"size": 5},
                hovertemplate="%{y:.3f}",
                **place,
            )
    figure.update_annotations(font={"size": 12})
    deepest = max(max(curve.layers, default=1) for row in panels.values() for curve in row)
    figure.update_layout(hovermode="x unified", showlegend=False)
    figure.update_xaxes(range=[0.5, deepest + 0.5])
    figure.update_yaxes(range=[0, 1.03])
    figure.update_xaxes(title="layer", row=n_rows)
    return figure


def _role_legend(curves: Sequence[_Curve]) -> list[tuple[str, str, str]]:
    """The legend of the compared models that are drawn."""
    drawn = {curve.label for curve in curves if curve.layers}
    names = {role: f"{ROLE_NAMES[role]} model" for role in COMPARED}
    return [(name, COLOURS[role], "solid") for role, name in names.items() if name in drawn]


def _add_band(figure: Any, curve: _Curve, place: Mapping[str, int]) -> None:
    # a missing end would make plotly close the outline across the gap
    defined = [
        (layer, low, high)
        for layer, low, high in zip(curve.layers, curve.low, curve.high, strict=True)
        if np.isfinite(low) and np.isfinite(high)
    ]
    layers = [layer for layer, _, _ in defined]
    outline = [low for _, low, _ in defined] + [high for _, _, high in reversed(defined)]
    look = {"mode": "lines", "line": {"width": 0}, "fill": "toself", "opacity": 0.2}
    figure.add_scatter(
        x=layers + layers[::-1],
        y=outline,
        fillcolor=curve.look["color"],
        hoverinfo="skip",
        **look,
        **place,
    )


def _layout(height_px: int) -> dict[str, Any]:
    """Clear, so that the page's own background shows; the page sets the colour of the text."""
    axis = {"gridcolor": FAINT, "linecolor": GREY, "zeroline": False, "automargin": True}
    return {
        "template": {"layout": {"xaxis": axis, "yaxis": axis}},
        "height": height_px,
        "margin": {"l": 10, "r": 10, "t": 30, "b": 50},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "dragmode": False,  # a finger on the figure scrolls the page
    }


def _hover(shown: LayerGrid, floor: LayerGrid) -> list[list[str]]:
    """What pointing at each cell tells."""
    rows = []
    for i, (task, cluster) in enumerate(zip(shown.tasks, shown.clusters, strict=True)):
        cells = []
        for j, layer in enumerate(shown.layers):
            value, low, high = shown.values[i, j], shown.lower[i, j], shown.upper[i, j]
            interval = f" [{low:.3f}, {high:.3f}]" if np.isfinite(low + high) else ""
            measured = f"{value:.3f}{interval}" if np.isfinite(value) else "undefined"
            chance = floor.at(task, layer)
            shuffled = f"<br>shuffled rows {chance:.3f}" if np.isfinite(chance) else ""
            cells.append(
                f"<b>{_plain(task)}</b> ({_plain(cluster)})<br>layer {layer}: {measured}"
                f"{shuffled}<br>n = {shown.n[i, j]:,}"
            )
        rows.append(cells)
    return rows


def _plain(name: str) -> str:
    """`name` on one line, cut to size, as text for plotly, which reads a little HTML everywhere."""
    line = " ".join(name.split())
    return escape(
        line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 1]}…", quote=False
    )


def _spec(figure: Any) -> Markup:
    # plotly's writer escapes <, > and / for use inside a script element
    return Markup(figure.to_json())
