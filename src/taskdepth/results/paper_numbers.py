"""`PaperNumbers`: what the paper's figures show beyond the layer table, and `paper_figures.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from taskdepth.files import write_json
from taskdepth.results.layer_grid import COMPARED, MEASURE, LayerGrid, grid, similarity_grid
from taskdepth.results.table import LayerTable, pooled_name
from taskdepth.results.task_maps import TaskMaps
from taskdepth.types import Role

SCHEMA_VERSION = "1"
DIMENSIONS = "dimensions_for_variance"
BOX_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Scatter:
    """Figure 4: the points of one model's states at one layer; `shares` of the variance, for PCA."""

    role: str
    layer: int
    points: tuple[tuple[float, float], ...]
    shares: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Correlation:
    """Figure 6: Spearman's ρ over `n` tasks of a similarity at a layer with a property of the tasks.

    `p` is that of a permutation test, `q` the same after Benjamini-Hochberg over all tests.
    """

    role: str
    property: str
    layer: int
    rho: float
    p: float
    q: float
    n: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """Figure 7: how a task × task map agrees with the clusters; each q is its p-value after
    Benjamini-Hochberg over all maps."""

    role: str
    measure: str
    layer: int
    silhouette: float
    silhouette_p: float
    silhouette_q: float
    adjusted_rand: float
    adjusted_rand_p: float
    adjusted_rand_q: float
    by_cluster: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class PaperNumbers:
    """`points_of` names the task of each point of figure 4, `properties` the values behind figure 6.

    `unseen` are the tasks that the experimental model was not tuned on. `geometry` holds the rows
    behind figure 5. `notes` say what could not be had, and why.
    """

    pooling: str
    projection: str
    points_of: tuple[str, ...]
    scatters: tuple[Scatter, ...]
    geometry: LayerTable
    properties: Mapping[str, Mapping[str, float]]
    correlations: tuple[Correlation, ...]
    maps: TaskMaps
    agreements: tuple[Agreement, ...]
    unseen: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def pooling_text(self) -> str:
        """For the end of a caption: nothing for the last prompt token."""
        return "" if self.pooling == "last_token" else f"; pooling: {self.pooling}"

    def similarity(self, table: LayerTable, role: Role, name: str) -> LayerGrid:
        """The similarity `name` of a compared model with the control models, for this pooling."""
        return similarity_grid(table, role, pooled_name(name, self.pooling))

    def seen(self, shown: LayerGrid) -> LayerGrid:
        """The tasks that the experimental model was tuned on; all, if that is not known."""
        return shown.only([task not in self.unseen for task in shown.tasks])

    def not_seen(self, shown: LayerGrid) -> LayerGrid:
        """The tasks that it was not tuned on."""
        return shown.only([task in self.unseen for task in shown.tasks])

    def dimensions(self, role: Role) -> LayerGrid:
        """The dimensions for 99 % of the variance."""
        return grid(
            self.geometry,
            kind="geometry",
            role=role,
            name=pooled_name(DIMENSIONS, self.pooling),
        )

    def write(self, path: Path, table: LayerTable) -> None:
        """Write everything that the six figures show, the boxes too, as JSON; undefined is null."""
        write_json(path, _plain(self._content(table)))

    def _content(self, table: LayerTable) -> dict[str, Any]:
        similar = {role: self.similarity(table, role, MEASURE) for role in COMPARED}
        return {
            "schema": SCHEMA_VERSION,
            "pooling": self.pooling,
            "notes": self.notes,
            "quantile_levels": BOX_QUANTILES,
            "figure_2": {
                "boxes": {str(role): _boxes(self.seen(found)) for role, found in similar.items()},
                "unseen": {
                    str(role): _curves(self.not_seen(found)) for role, found in similar.items()
                },
            },
            "figure_3": {
                str(role): {
                    cluster: _boxes(found.of_cluster(cluster))
                    for cluster in dict.fromkeys(found.clusters)
                }
                for role, found in similar.items()
            },
            "figure_4": {
                "projection": self.projection,
                "task_of_point": self.points_of,
                "panels": [asdict(scatter) for scatter in self.scatters],
            },
            "figure_5": {
                str(role): _boxes(self.dimensions(role)) for role in (*COMPARED, Role.CONTROL)
            },
            "figure_6": {
                "properties": self.properties,
                "correlations": [asdict(found) for found in self.correlations],
            },
            "figure_7": {
                "n": self.maps.n,
                "maps": "task_maps.safetensors",
                "agreements": [asdict(found) for found in self.agreements],
            },
        }


def _boxes(shown: LayerGrid) -> list[dict[str, Any]]:
    """Least, quartiles and greatest over the tasks that are defined, by layer."""
    found = []
    for column, layer in enumerate(shown.layers):
        defined = shown.values[np.isfinite(shown.values[:, column]), column]
        quantiles = np.quantile(defined, BOX_QUANTILES).tolist() if len(defined) else None
        found.append({"layer": layer, "n_tasks": len(defined), "quantiles": quantiles})
    return found


def _curves(shown: LayerGrid) -> dict[str, list[float]]:
    """The values of each task by layer, from layer 1."""
    return {task: values.tolist() for task, values in zip(shown.tasks, shown.values, strict=True)}


def _plain(content: Any) -> Any:
    """JSON knows no NaN: undefined becomes null."""
    if isinstance(content, Mapping):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, Sequence) and not isinstance(content, str):
        return [_plain(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
