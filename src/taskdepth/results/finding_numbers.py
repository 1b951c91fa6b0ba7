"""The numbers that a layer table comes to, each read off it for one model.

Everything here is about layers (depths >= 1); depth 0, the embeddings, stays in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from taskdepth.results.gain import gain_grid
from taskdepth.results.layer_grid import across_tasks, finite, grid, similarity_grid
from taskdepth.results.table import LayerTable
from taskdepth.types import Role


@dataclass(frozen=True, slots=True)
class IdentityFinding:
    """How well a linear probe tells the tasks apart. `readable_from`: the first layer at which its
    interval lies above the most frequent task and above the control task; None: never."""

    role: Role
    readable_from: int | None
    best_layer: int
    accuracy: float
    majority: float
    control_task: float


@dataclass(frozen=True, slots=True)
class LabelFinding:
    """Label probes, as medians over `n_tasks` tasks. `n_above`: how many of them have their
    accuracy interval above their own majority class at the best layer."""

    role: Role
    first_layer: int
    first: float
    best_layer: int
    best: float
    majority: float
    n_tasks: int
    n_above: int


@dataclass(frozen=True, slots=True)
class SimilarityFinding:
    """Debiased linear CKA with the control models, as medians over the tasks that are defined."""

    role: Role
    first_layer: int
    first: float
    lowest_layer: int
    lowest: float
    last_layer: int
    last: float
    n_tasks: int


@dataclass(frozen=True, slots=True)
class Gain:
    """How much closer to the control models the experimental model is than the pre-trained one, as
    the median over tasks of the difference, at the layer where that is largest. `n_positive` of
    `n_tasks` tasks gain there."""

    layer: int
    value: float
    n_positive: int
    n_tasks: int


@dataclass(frozen=True, slots=True)
class Yardstick:
    """Debiased linear CKA of a ceiling or foils with the control models, as medians over tasks.

    At the last layer `role`, a compared model, is closer to the control model than they are in
    `n_closer` of `n_tasks` tasks.
    """

    first: float
    last: float
    last_layer: int
    role: Role
    n_closer: int
    n_tasks: int


def identity_of(table: LayerTable, role: Role) -> IdentityFinding | None:
    """How well task probes of one model do; None where there are none, or none is defined."""
    probe = {"kind": "probe", "role": role, "target": "task"}
    accuracy = grid(table, **probe, name="accuracy")
    if not np.isfinite(accuracy.values).any():
        return None
    majority = _at_layers(table, accuracy.layers, **probe, name="majority")
    control_task = _at_layers(table, accuracy.layers, **probe, name="control_task_accuracy")
    lower = np.where(np.isnan(accuracy.lower), accuracy.values, accuracy.lower)[0]
    above = (lower > majority) & ~(lower <= control_task)  # an absent control task is no objection
    best = int(np.nanargmax(accuracy.values[0]))
    return IdentityFinding(
        role,
        accuracy.layers[int(np.argmax(above))] if above.any() else None,
        accuracy.layers[best],
        float(accuracy.values[0, best]),
        float(majority[best]),
        float(control_task[best]),
    )


def labels_of(table: LayerTable, role: Role) -> LabelFinding | None:
    """How well label probes of one model do; None where there are none, or none is defined."""
    probe = {"kind": "probe", "role": role, "target": "label"}
    accuracy = grid(table, **probe, name="accuracy")
    if not np.isfinite(accuracy.values).any():
        return None
    median = across_tasks(accuracy.values, 0.5)
    first, best = int(np.flatnonzero(np.isfinite(median))[0]), int(np.nanargmax(median))
    majority = grid(table, **probe, name="majority")
    # each task is held against its own majority class
    own = dict(zip(majority.tasks, across_tasks(majority.values.T, 0.5), strict=True))
    lower = np.where(np.isnan(accuracy.lower), accuracy.values, accuracy.lower)[:, best]
    return LabelFinding(
        role,
        accuracy.layers[first],
        float(median[first]),
        accuracy.layers[best],
        float(median[best]),
        float(np.median(finite(own.values()) or [np.nan])),
        int(np.isfinite(accuracy.values[:, best]).sum()),
        sum(bool(low > own.get(t, np.nan)) for t, low in zip(accuracy.tasks, lower, strict=True)),
    )


def similarity_of(table: LayerTable, role: Role) -> SimilarityFinding | None:
    """How alike a model and the control models are; None where no value is defined."""
    found = similarity_grid(table, role)
    if not np.isfinite(found.values).any():
        return None
    median = across_tasks(found.values, 0.5)
    defined = np.flatnonzero(np.isfinite(median))
    first, last, lowest = int(defined[0]), int(defined[-1]), int(np.nanargmin(median))
    return SimilarityFinding(
        role,
        found.layers[first],
        float(median[first]),
        found.layers[lowest],
        float(median[lowest]),
        found.layers[last],
        float(median[last]),
        int(np.isfinite(found.values).any(axis=1).sum()),
    )


def gain_of(table: LayerTable) -> Gain | None:
    """Where tuning on all tasks brings most; None without values of both models."""
    found = gain_grid(table)
    if found is None:
        return None
    median = across_tasks(found.values, 0.5)
    best = int(np.nanargmax(median))
    at_best = finite(found.values[:, best])
    return Gain(found.layers[best], float(median[best]), sum(d > 0 for d in at_best), len(at_best))


def yardstick_of(table: LayerTable, role: Role, compared: Sequence[Role]) -> Yardstick | None:
    """What `role` reaches, and in how many tasks the first of `compared` is closer at the end."""
    found = similarity_of(table, role)
    if found is None or not compared:
        return None
    ours, theirs = similarity_grid(table, compared[0]), similarity_grid(table, role)
    pairs = [
        (ours.at(task, found.last_layer), theirs.at(task, found.last_layer)) for task in ours.tasks
    ]
    both = [(one, other) for one, other in pairs if np.isfinite(one) and np.isfinite(other)]
    return Yardstick(
        found.first,
        found.last,
        found.last_layer,
        compared[0],
        sum(one > other for one, other in both),
        len(both),
    )


def _at_layers(
    table: LayerTable, layers: Sequence[int], **equals: object
) -> Float[np.ndarray, " layers"]:
    """The median over tasks of a quantity at each of `layers`; NaN where the table has none."""
    found = grid(table, **equals)
    medians = dict(zip(found.layers, across_tasks(found.values, 0.5), strict=True))
    return np.array([medians.get(layer, np.nan) for layer in layers])
