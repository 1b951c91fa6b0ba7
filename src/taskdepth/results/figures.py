"""All PNG figures of a study: heat maps by task and layer, probe curves, regions, weights.

No pyplot: a figure is made, returned and forgotten, whatever the caller's backend and state.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from taskdepth.results.drawing import save
from taskdepth.results.probe_figures import probe_accuracy_by_cluster, task_identity
from taskdepth.results.region_figure import region_curves
from taskdepth.results.regions import Placement, Regions
from taskdepth.results.similarity_figure import similarity_heatmap
from taskdepth.results.table import LayerTable
from taskdepth.results.weights_figure import weights_figure
from taskdepth.types import Role


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
        "adapter_weights": lambda: weights_figure(table),
    }
    return save(makers, folder)
