"""What a layer table says about blocks: the scores that rank them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from taskdepth.errors import ResultsError
from taskdepth.results.layer_grid import COMPARED
from taskdepth.results.table import LayerTable
from taskdepth.selection.signals import Signals, mean_curves

PROBE_TARGETS = ("label", "task")  # the first that was probed


def probe_slope(table: LayerTable) -> Float[np.ndarray, " n_layers"]:
    """How much the accuracy of linear probes rises from each layer's predecessor, as a mean over tasks.

    Of label probes, or of the probe for the task where no task has labels; of the experimental model,
    or of the pre-trained one where that was not probed. Layer 1 is held against the embeddings.

    Raises:
        ResultsError: the table has no such probes.
    """
    for role in COMPARED[::-1]:
        for target in PROBE_TARGETS:
            rows = table.where(kind="probe", role=role, target=target, name="accuracy")
            if len(rows):
                curves = mean_curves(rows, rows.unique("task"), table.n_blocks, from_depth=0)
                rises = np.diff(curves, axis=1)
                counts = np.isfinite(rises).sum(axis=0)
                sums = np.nansum(rises, axis=0)
                slope: np.ndarray = np.full_like(sums, np.nan)
                np.divide(sums, counts, out=slope, where=counts > 0)
                return slope
    raise ResultsError(
        "the layer table has no probes for labels or tasks: run probe.py's probe stage"
    )


def similarity_drop(signals: Signals) -> Float[np.ndarray, " n_layers"]:
    """How much the median similarity to the control models falls from each layer's predecessor.

    The embeddings are the same in all models: their similarity is 1.
    """
    falls: np.ndarray = -np.diff(signals.values[0], prepend=1.0)
    return falls
