"""The figure of a run's depth maps: every model's depths against its own and the others'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from taskdepth.files import replacing
from taskdepth.results.depth_maps import DepthMap, DepthMaps
from taskdepth.results.drawing import (
    DPI,
    GREY,
    LARGE,
    NORMAL,
    SMALL,
    UNDEFINED,
    NothingToDrawError,
)
from taskdepth.results.layer_grid import MEASURE, MEASURE_NAME, ROLE_NAMES
from taskdepth.results.wording import counted
from taskdepth.types import Role

N_COLUMNS = 3


def depth_map_figure(maps: DepthMaps, name: str = MEASURE) -> Figure:
    """One panel for every two roles, the mean over tasks; a role with itself first.

    Raises:
        NothingToDrawError: there is no mean over tasks of this measure.
    """
    shown = sorted(maps.where(name=name, task="all"), key=lambda m: m.role != m.reference)
    if not shown:
        raise NothingToDrawError(f"the depth maps have no mean over tasks of {name}")
    n_columns = min(N_COLUMNS, len(shown))
    n_rows = -(-len(shown) // n_columns)
    figure = Figure(figsize=(2.9 * n_columns + 0.8, 2.8 * n_rows + 0.9), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False)
    for axes, single in zip(panels.flat, shown, strict=False):
        image = _panel(axes, single)
    for axes in panels.flat[len(shown) :]:
        axes.set_axis_off()
    bar = figure.colorbar(image, ax=panels, shrink=0.7, extend="min")
    bar.ax.tick_params(labelsize=SMALL)
    bar.set_label(MEASURE_NAME if name == MEASURE else name, fontsize=NORMAL)
    figure.suptitle("Which depths are alike, within a model and between two", fontsize=LARGE)
    n_tasks = max(single.n_tasks for single in shown)
    n = min(single.n for single in shown)
    figure.supxlabel(
        f"mean over {counted(n_tasks, 'task')}, at least {counted(n, 'example')} each; depth 0 is "
        "the embeddings",
        fontsize=SMALL,
        color=GREY,
    )
    if any(np.isnan(single.values).any() for single in shown):
        handle = Patch(**UNDEFINED, label="undefined")
        figure.legend(handles=[handle], loc="lower right", fontsize=SMALL, frameon=False)
    return figure


def save_depth_maps(path: Path, folder: Path) -> dict[str, Path]:
    """Draw the run's depth maps, if it has any: the figure's name and its PNG."""
    if not path.exists():
        return {}
    try:
        figure = depth_map_figure(DepthMaps.read(path))
    except NothingToDrawError:
        return {}
    saved = folder / "depth_maps.png"
    with replacing(saved) as partial:
        figure.savefig(partial, format="png", dpi=DPI)
    return {"depth_maps": saved}


def _panel(axes: Axes, single: DepthMap) -> AxesImage:
    axes.patch.set(**UNDEFINED)  # shows through where a value is NaN
    image = axes.imshow(single.values, vmin=0, vmax=1, origin="lower", interpolation="none")
    one, other = (_called(role) for role in (single.role, single.reference))
    axes.set_ylabel(f"depth, {one}", fontsize=SMALL)
    axes.set_xlabel(f"depth, {other}", fontsize=SMALL)
    for axis, n_depths in zip((axes.yaxis, axes.xaxis), single.values.shape, strict=True):
        axis.set_ticks(range(0, n_depths, -(-n_depths // 9)))
    axes.tick_params(labelsize=SMALL, length=2)
    axes.spines[:].set_visible(False)
    return image


def _called(role: str) -> str:
    return "control models" if role == Role.CONTROL else f"{ROLE_NAMES[Role(role)]} model"
