"""What the PNG figures share: colours, the layer axis, title, legend and caption.

No pyplot: a figure is made, returned and forgotten, whatever the caller's backend and state.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from taskdepth.errors import ResultsError
from taskdepth.files import replacing
from taskdepth.results.layer_grid import ROLE_NAMES, LayerGrid
from taskdepth.results.regions import Regions, region_names
from taskdepth.types import Role

DPI = 150
# Okabe & Ito, https://jfly.uni-koeln.de/color/: told apart with any colour vision
COLOURS = {Role.PRETRAINED: "#0072B2", Role.EXPERIMENTAL: "#D55E00"}
ADAPTED = "#009E73"
MARKERS = {Role.PRETRAINED: "o", Role.EXPERIMENTAL: "s"}
GREY = "#555555"
UNDEFINED: dict[str, Any] = {"facecolor": "#E4E4E4", "hatch": "////", "edgecolor": "#A8A8A8"}
SMALL, NORMAL, LARGE = 7.5, 9, 11  # points
SIGNIFICANT = 0.05  # of q
LONGEST_NAME = 38  # characters of a task or cluster name that a figure shows


class NothingToDrawError(ResultsError):
    """The table has no row for the figure that was asked for."""


def save(makers: Mapping[str, Callable[[], Figure]], folder: Path) -> dict[str, Path]:
    """Write the figures that have something to show; the result maps their names to their PNGs."""
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


def layer_axis(axes: Axes, layers: Sequence[int]) -> None:
    """Ticks and grid of the axis that `layers` stand on."""
    every = next(step for step in (1, 2, 4, 5, 10, 20, 50, 1000) if len(layers) <= 10 * step)
    axes.set_xticks([layer for layer in layers if layer == layers[0] or layer % every == 0])
    axes.tick_params(labelsize=SMALL, length=2)
    axes.grid(color="#E0E0E0", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def finish(
    figure: Figure, title: str, caption: str, handles: Sequence[Artist], keep_in: float = 0.0
) -> float:
    """Title on top, legend and caption at the bottom, and the axes in what is left.

    `keep_in` inches above the legend stay free; the result says how high they begin, in inches.
    """
    width_in, height_in = figure.get_size_inches()
    lines = textwrap.wrap(caption, int(width_in * 15))  # characters of a caption in an inch
    n_columns = 3 if len(handles) > 4 else 4
    caption_in = 0.13 + 0.14 * len(lines)
    legend_in = 0.19 * -(-len(handles) // n_columns)
    left, top, bottom = (
        0.1 / width_in,
        0.32 / height_in,
        (caption_in + legend_in + keep_in) / height_in,
    )
    figure.text(left, 1 - 0.1 / height_in, title, fontsize=LARGE, weight="bold", va="top")
    figure.text(left, 0.07 / height_in, "\n".join(lines), fontsize=SMALL, color=GREY)
    figure.set_layout_engine("constrained", rect=(0, bottom, 1 - left, 1 - top - bottom))
    if handles:
        figure.legend(
            handles=handles,
            loc="lower center",
            bbox_to_anchor=(0.5, caption_in / height_in),
            ncols=n_columns,
            fontsize=SMALL,
            frameon=False,
            borderpad=0.2,
            borderaxespad=0,
        )
    return caption_in + legend_in


def all_layers(grids: Iterable[LayerGrid]) -> list[int]:
    """Those of any grid, in order."""
    return sorted({layer for found in grids for layer in found.layers})


def role_handles(roles: Mapping[Role, object]) -> list[Artist]:
    """The lines of a legend that tell the models apart."""
    return [
        legend_line(
            f"{ROLE_NAMES[role]} model", color=COLOURS[role], marker=MARKERS[role], markersize=4
        )
        for role in roles
    ]


def legend_line(label: str, **look: Any) -> Artist:
    """A line of a legend for what is drawn with this look."""
    return Line2D([], [], label=label, **look)


def examples_text(grids: Iterable[LayerGrid]) -> str:
    """How many examples the values rest on, for a caption."""
    n = np.concatenate([found.n[found.n > 0] for found in grids])
    if not n.size:
        return "n unknown"
    low, high = int(n.min()), int(n.max())
    return f"n = {low:,} examples" if low == high else f"n = {low:,} to {high:,} examples"


def short(name: str, longest: int = LONGEST_NAME) -> str:
    """`name` as matplotlib may show it: on one line, not too long, never taken for mathematics."""
    line = " ".join(name.split())
    cut = line if len(line) <= longest else f"{line[: longest - 1]}…"
    return cut.replace("$", r"\$")


def significance_marks(
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


def model_name(role: str) -> str:
    """The role as figures name it."""
    return f"{ROLE_NAMES[Role(role)]} model"


def name_regions(
    axes: Axes, regions: Regions | None, edges: Sequence[float], column_in: float
) -> None:
    """The regions' names above the axes, between their `edges`, where there is room for them."""
    for (name, _, _), low, high in zip(region_names(regions), edges, edges[1:], strict=False):
        if (high - low) * column_in > 0.075 * len(name):
            axes.annotate(
                name,
                ((low + high) / 2, 1.0),
                xytext=(0, 3),
                xycoords=axes.get_xaxis_transform(),
                textcoords="offset points",
                ha="center",
                fontsize=SMALL,
                color=GREY,
            )
