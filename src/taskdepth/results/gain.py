"""How much closer to its control models the experimental model is than the pre-trained one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from taskdepth.results.layer_grid import COMPARED, MEASURE, LayerGrid, similarity_grid
from taskdepth.results.table import LayerTable


def gain_grid(table: LayerTable, name: str = MEASURE) -> LayerGrid | None:
    """Experimental minus pre-trained similarity where both were measured; None where neither is defined.

    It has no intervals; `n` is that of the experimental model.
    """
    pretrained, experimental = (similarity_grid(table, role, name) for role in COMPARED)
    tasks = [task for task in experimental.tasks if task in pretrained.tasks]
    layers = [layer for layer in experimental.layers if layer in pretrained.layers]

    def common(found: LayerGrid, values: Float[np.ndarray, "_ _"]) -> Float[np.ndarray, "_ _"]:
        rows = [found.tasks.index(task) for task in tasks]
        return values[rows][:, [found.layers.index(layer) for layer in layers]]

    gains = common(experimental, experimental.values) - common(pretrained, pretrained.values)
    if not np.isfinite(gains).any():
        return None
    unknown = np.full_like(gains, np.nan)
    return replace(
        experimental,
        tasks=tuple(tasks),
        clusters=tuple(experimental.clusters[experimental.tasks.index(task)] for task in tasks),
        layers=tuple(layers),
        values=gains,
        lower=unknown,
        upper=unknown,
        n=common(experimental, experimental.n),
    )
