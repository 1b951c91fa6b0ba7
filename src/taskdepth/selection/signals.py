"""From the layer table to curves over layers: where regions are looked for, where tuning helps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from taskdepth.errors import ResultsError
from taskdepth.results.table import LayerTable
from taskdepth.types import Role

QUARTILES = (0.25, 0.5, 0.75)
EXACT = 1e-12  # how far from 1 rounding takes the similarity of a model's states with themselves
DIMENSIONS = "dimensions_for_variance"  # of the 99 %, arXiv:2410.20008


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """Curves over layers 1 to L, summed up over `n_tasks` tasks; NaN where undefined.

    `names[i]` says what `values[i]` is; `resampled` holds the same curves for bootstrap samples of
    the tasks. `gain` ranks the layers, see `layer_signals`. `identical`: over how many first layers
    one compared model's states are those of all control models, as the pre-trained model's are
    below the first block that any control model adapts.
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, "n_signals n_layers"]
    gain: Float[np.ndarray, " n_layers"]
    resampled: Float[np.ndarray, "n_boot n_signals n_layers"]
    n_tasks: int
    identical: int = 0


def layer_signals(
    table: LayerTable,
    *,
    name: str = "debiased_cka",
    n_bootstrap: int = 200,
    seed: int = 0,
    n_layers: int | None = None,
) -> Signals:
    """Curves of the similarity `name` with the control models, summed up over tasks.

    They are its median and inter-quartile range over tasks: for the experimental model, or for the
    pre-trained one in a table without it. `gain` tells where a layer has most to do with what is
    learnt. With both models it is the median over tasks of experimental minus pre-trained
    similarity, and a third signal: how far joint tuning moved the layer towards its single-task
    specialists. With one model it is 1 - median, which is no signal of its own: how far the
    specialists' layer is from that model's. Where the table has both models' geometry there is one
    more signal: the median over tasks of how many more dimensions hold 99 % of the variance in the
    experimental model.

    Several values of one model, task and layer (seeds of the control models) are averaged first.
    Undefined values are left out of means, medians and quartiles. The bootstrap draws tasks.
    `n_layers` is L, by default that of the table.

    Raises:
        ResultsError: the table has no such rows, or two models play the same role in it.
    """
    rows = table.where(kind="similarity", name=name, reference=Role.CONTROL)
    by_role = {role: rows.where(role=role) for role in (Role.EXPERIMENTAL, Role.PRETRAINED)}
    roles = [role for role, of_role in by_role.items() if len(of_role)]
    if not roles:
        raise ResultsError(
            f"the layer table has no {name} with control models: "
            "run probe.py with models.controls=<run directory>"
        )
    for role in roles:
        if len(models := by_role[role].unique("model")) > 1:
            raise ResultsError(
                f"the layer table has {len(models)} {role} models ({', '.join(models)}): "
                "keep the rows of one"
            )
    # rows about no single task are called `all`
    tasks = [task for task in by_role[roles[0]].unique("task") if task != "all"]
    n_layers = table.n_blocks if n_layers is None else n_layers
    curves = [mean_curves(by_role[role], tasks, n_layers) for role in roles]
    dimensions = _dimensions_gain(table, tasks, n_layers)
    drawn = np.random.default_rng(seed).integers(len(tasks), size=(n_bootstrap, len(tasks)))
    (summary,) = _summaries(curves, dimensions, np.arange(len(tasks))[None])
    names = (f"{roles[0]}_median", f"{roles[0]}_iqr", "gain", "dimensions_gain")
    kept = [0, 1, *([2] if len(roles) == 2 else []), *([3] if dimensions is not None else [])]
    return Signals(
        names=tuple(names[i] for i in kept),
        values=summary[kept],
        gain=summary[2],
        resampled=_summaries(curves, dimensions, drawn)[:, kept],
        n_tasks=len(tasks),
        identical=max(map(_identical, curves)),
    )


def _identical(curves: Float[np.ndarray, "n_tasks n_layers"]) -> int:
    """Over how many first layers every task's similarity is 1, as far as it is defined."""
    same = (np.abs(curves - 1) <= EXACT) | np.isnan(curves)
    differ = ~same.all(axis=0) | np.isnan(curves).all(axis=0)
    return int(differ.argmax()) if differ.any() else len(differ)


def _dimensions_gain(
    table: LayerTable, tasks: list[str], n_layers: int
) -> Float[np.ndarray, "n_tasks n_layers"] | None:
    """How many more dimensions the experimental model uses; None where that was not measured."""
    both = [
        table.where(kind="geometry", name=DIMENSIONS, role=role)
        for role in (Role.EXPERIMENTAL, Role.PRETRAINED)
    ]
    if not all(map(len, both)):
        return None
    experimental, pretrained = (mean_curves(rows, tasks, n_layers) for rows in both)
    gain: np.ndarray = experimental - pretrained
    return gain


def mean_curves(
    rows: LayerTable, tasks: list[str], n_layers: int, *, from_depth: int = 1
) -> Float[np.ndarray, "n_tasks n_depths"]:
    """The mean value of each task at depths `from_depth` to `n_layers`; NaN where none is defined."""
    total, count = np.zeros((2, len(tasks), n_layers + 1 - from_depth))
    position = {task: index for index, task in enumerate(tasks)}
    for row in rows:
        if row.depth >= from_depth and row.task in position and not np.isnan(row.value):
            total[position[row.task], row.depth - from_depth] += row.value
            count[position[row.task], row.depth - from_depth] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _summaries(
    curves: list[Float[np.ndarray, "n_tasks n_layers"]],
    dimensions: Float[np.ndarray, "n_tasks n_layers"] | None,
    drawn: Int[np.ndarray, "n_draws n_tasks"],
) -> Float[np.ndarray, "n_draws n_curves n_layers"]:
    """Median, inter-quartile range and gain for each draw of tasks, and the gain in dimensions."""
    lower, median, upper = _quartiles(curves[0][drawn])
    gain = _quartiles((curves[0] - curves[1])[drawn])[1] if len(curves) == 2 else 1 - median
    found = [median, upper - lower, gain]
    if dimensions is not None:
        found.append(_quartiles(dimensions[drawn])[1])
    return np.stack(found, axis=1)


def _quartiles(
    values: Float[np.ndarray, "n_draws n_tasks n_layers"],
) -> Float[np.ndarray, "3 n_draws n_layers"]:
    # numpy's nanquantile loops over the layers of every draw, and warns where all is NaN
    return torch.from_numpy(values).nanquantile(torch.tensor(QUARTILES).double(), dim=1).numpy()
