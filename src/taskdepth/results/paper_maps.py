"""Figure 7: task × task similarity at chosen layers, and its agreement with the clusters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from taskdepth.results.drawing import (
    COLOURS,
    GREY,
    NORMAL,
    SIGNIFICANT,
    SMALL,
    UNDEFINED,
    NothingToDrawError,
    finish,
    layer_axis,
    legend_line,
    model_name,
    role_handles,
    short,
    significance_marks,
)
from taskdepth.results.layer_grid import (
    COMPARED,
)
from taskdepth.results.paper_numbers import Agreement, PaperNumbers
from taskdepth.results.task_maps import MEASURES
from taskdepth.results.wording import counted
from taskdepth.types import Role

AGREEMENT_STYLES = {"centroid_cosine": "-", "covariance_cosine": "--"}
MAP_COLOURS = "PuOr"  # two hues that any colour vision tells apart, white in between


def task_maps(numbers: PaperNumbers) -> Figure:
    """Figure 7: task × task similarity at the layers of figure 4, and its agreement with the clusters.

    Raises:
        NothingToDrawError: no map has a value.
    """
    maps = numbers.maps
    role = maps.roles[-1]  # the experimental model, if there is one
    layers = sorted({panel.layer for panel in numbers.scatters})
    defined = torch.stack([maps.at(m, role, k).isfinite() for m in MEASURES for k in layers])
    holes = not defined.all()
    if not defined.any():
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
            axes.set_title(f"{_plain(measure)}, layer {layer}", fontsize=NORMAL, loc="left")
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
            legend_line(f"{_plain(name)}: {MEASURES[name]}", color=GREY, linestyle=style)
            for name, style in AGREEMENT_STYLES.items()
        ),
        legend_line("not significant", color=GREY, marker="o", markerfacecolor="white"),
        *([Patch(**UNDEFINED, label="undefined")] if holes else []),
    ]
    finish(
        figure,
        f"Figure 7: which tasks share a representation ({model_name(role)})",
        f"maps: {counted(len(maps.tasks), 'task')} sorted by cluster, {maps.n} prompts of each; below: "
        f"agreement with the clusters, filled: q < {SIGNIFICANT} (clusters permuted, Benjamini-Hochberg "
        f"over {len(numbers.agreements)} maps){numbers.pooling_text}",
        handles,
    )
    return figure


def _plain(measure: str) -> str:
    return measure.replace("_", " ")


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
        significance_marks(
            axes, layers, values, [getattr(found, f"{name}_q") for found in part], role
        )
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_title(title, fontsize=NORMAL, loc="left")
    axes.set_xlabel("layer", fontsize=NORMAL)
    layer_axis(axes, sorted({found.layer for found in agreements}))
