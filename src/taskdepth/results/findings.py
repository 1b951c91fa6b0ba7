"""What a layer table says: its values laid out by task and layer, and five sentences about them.

Everything here is about layers (depths >= 1); depth 0, the embeddings, stays in the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float

from taskdepth.layers import depth_of
from taskdepth.results.gain import gain_grid
from taskdepth.results.layer_grid import (
    COMPARED,
    MEASURE_NAME,
    ROLE_NAMES,
    across_tasks,
    finite,
    grid,
    similarity_grid,
)
from taskdepth.results.table import LayerTable
from taskdepth.types import Role


class Regions(Protocol):
    """Where the layers split. `boundaries`: the 1-based last layer of each region but the last;
    `intervals`: the 95 % range of each; `names`: one for each region; `chosen`: whether their number
    was chosen for the curves."""

    @property
    def boundaries(self) -> Sequence[int]: ...
    @property
    def intervals(self) -> Sequence[tuple[int, int]]: ...
    @property
    def found(self) -> bool: ...
    @property
    def n_layers(self) -> int: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def chosen(self) -> bool: ...


class Placement(Protocol):
    """The blocks that an adapter should go into, and why."""

    @property
    def blocks(self) -> Sequence[int]: ...
    @property
    def n_blocks(self) -> int: ...
    @property
    def policy(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def model(self) -> object: ...


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


@dataclass(frozen=True, slots=True)
class Findings:
    """The numbers of a run, and the five sentences (`lines`) that say them; six with yardsticks.

    None and empty: not measured, or undefined everywhere. Where both models were measured, the
    experimental one comes first.
    """

    n_tasks: int
    n_clusters: int
    n_layers: int
    roles: tuple[Role, ...]
    n_controls: int
    identity: IdentityFinding | None
    labels: tuple[LabelFinding, ...]
    similarity: tuple[SimilarityFinding, ...]
    gain: Gain | None
    ceiling: Yardstick | None
    foil: Yardstick | None
    boundaries: tuple[int, ...]
    blocks: tuple[int, ...]
    lines: tuple[str, ...]


def summarise(
    table: LayerTable, regions: Regions | None = None, selection: Placement | None = None
) -> Findings:
    """Read the numbers of the summary off the table; a line says so where something is missing."""
    roles = tuple(role for role in COMPARED if table.where(role=role))
    # the recall of a cluster is about no single task, whatever its row says
    n_tasks = len({row.task for row in table if row.target != "cluster"} - {"all"})
    n_clusters = len({row.cluster for row in table} - {"all"})
    controlled = table.where(kind="similarity", reference=Role.CONTROL)
    n_controls = len(controlled.unique("task"))
    asked = roles[::-1]
    identity = next(filter(None, (_identity(table, role) for role in asked)), None)
    labels = tuple(filter(None, (_labels(table, role) for role in asked)))
    similarity = tuple(filter(None, (_similarity(table, role) for role in asked)))
    gain = _gain(table)
    ceiling, foil = (_yardstick(table, role, asked) for role in (Role.CEILING, Role.FOIL))
    return Findings(
        n_tasks=n_tasks,
        n_clusters=n_clusters,
        n_layers=table.n_blocks,
        roles=roles,
        n_controls=n_controls,
        identity=identity,
        labels=labels,
        similarity=similarity,
        gain=gain,
        ceiling=ceiling,
        foil=foil,
        boundaries=tuple(regions.boundaries) if regions and regions.found else (),
        blocks=tuple(selection.blocks) if selection else (),
        lines=(
            _compared_line(n_tasks, n_clusters, table.n_blocks, roles, n_controls),
            _identity_line(identity),
            _labels_line(labels),
            _similarity_line(similarity, gain, measured=len(controlled) > 0),
            *([_yardstick_line(ceiling, foil)] if ceiling or foil else []),
            _placement_line(regions, selection),
        ),
    )


def region_names(regions: Regions | None) -> list[tuple[str, int, int]]:
    """Name, first and last layer of each region; empty where none was found."""
    if regions is None or not regions.found:
        return []
    ends = [*regions.boundaries, regions.n_layers]
    starts = [1, *(end + 1 for end in ends[:-1])]
    return list(zip(regions.names, starts, ends, strict=True))


def number_of_regions(regions: Regions) -> str:
    """A sentence on the number of regions found, where it was chosen; "" where it was asked for."""
    return f" The curves show {len(regions.names)} regions, not fewer." if regions.chosen else ""


def counted(n: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "task"), counted(1200, "task")
    ('1 task', '1,200 tasks')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def spans(numbers: Iterable[int]) -> str:
    """Runs of numbers, shortened.

    >>> spans([0, 1, 2, 5])
    '0–2, 5'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def _at_layers(
    table: LayerTable, layers: Sequence[int], **equals: object
) -> Float[np.ndarray, " layers"]:
    """The median over tasks of a quantity at each of `layers`; NaN where the table has none."""
    found = grid(table, **equals)
    medians = dict(zip(found.layers, across_tasks(found.values, 0.5), strict=True))
    return np.array([medians.get(layer, np.nan) for layer in layers])


def _identity(table: LayerTable, role: Role) -> IdentityFinding | None:
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


def _labels(table: LayerTable, role: Role) -> LabelFinding | None:
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


def _similarity(table: LayerTable, role: Role) -> SimilarityFinding | None:
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


def _yardstick(table: LayerTable, role: Role, compared: Sequence[Role]) -> Yardstick | None:
    """What `role` reaches, and in how many tasks the first of `compared` is closer at the end."""
    found = _similarity(table, role)
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


def _gain(table: LayerTable) -> Gain | None:
    found = gain_grid(table)
    if found is None:
        return None
    median = across_tasks(found.values, 0.5)
    best = int(np.nanargmax(median))
    at_best = finite(found.values[:, best])
    return Gain(found.layers[best], float(median[best]), sum(d > 0 for d in at_best), len(at_best))


def _percent(share: float) -> str:
    return f"{share:.1%}" if np.isfinite(share) else "an unknown share"


def _compared_line(
    n_tasks: int, n_clusters: int, n_layers: int, roles: Sequence[Role], n_controls: int
) -> str:
    if not roles:
        return "Nothing was measured: the layer table has no row of a compared model."
    models = " and the ".join(ROLE_NAMES[role] for role in roles)
    against = (
        f"compared with {counted(n_controls, 'control model')}"
        if n_controls
        else "without control models to compare with"
    )
    return (
        f"Measured: {counted(n_tasks, 'task')} in {counted(n_clusters, 'cluster')} over "
        f"{counted(n_layers, 'layer')} of the {models} model, {against}."
    )


def _identity_line(finding: IdentityFinding | None) -> str:
    if finding is None:
        return "Task identity: not probed, or undefined: nothing is known about where tasks differ."
    floors = f"always naming the most frequent task gives {_percent(finding.majority)}"
    if np.isfinite(finding.control_task):
        floors += f", a control task {finding.control_task:.1%}"
    best = f"{finding.accuracy:.1%} at layer {finding.best_layer}, the best"
    if finding.readable_from is None:
        return (
            f"Task identity: not readable at any layer of the {ROLE_NAMES[finding.role]} model "
            f"({best}; {floors})."
        )
    return (
        f"Task identity: readable from layer {finding.readable_from} of the "
        f"{ROLE_NAMES[finding.role]} model ({best}; {floors})."
    )


def _labels_line(findings: Sequence[LabelFinding]) -> str:
    if not findings:
        return "Labels: not probed, or undefined: nothing is known about where they can be read."
    shown, *others = findings
    besides = "".join(
        f"; {ROLE_NAMES[other.role]} model: {other.best:.1%} at layer {other.best_layer}"
        for other in others
    )
    moves = (
        f"is highest at layer {shown.best_layer} already, at {shown.best:.1%}"
        if shown.best_layer == shown.first_layer
        else f"goes from {shown.first:.1%} at layer {shown.first_layer} to {shown.best:.1%} at "
        f"layer {shown.best_layer}, the best"
    )
    return (
        f"Labels: the {ROLE_NAMES[shown.role]} model's probe accuracy, median over "
        f"{counted(shown.n_tasks, 'task')}, {moves} (majority class {_percent(shown.majority)}; "
        f"above it in {shown.n_above} of {shown.n_tasks}{besides})."
    )


def _similarity_line(
    findings: Sequence[SimilarityFinding], gain: Gain | None, *, measured: bool
) -> str:
    if not findings:
        why = (
            "undefined at every layer" if measured else "not measured: there are no control models"
        )
        return f"Similarity to the control models: {why}."
    shown = findings[0]
    dip = (
        f" (lowest: {shown.lowest:.2f} at layer {shown.lowest_layer})"
        if shown.lowest_layer not in (shown.first_layer, shown.last_layer)
        else ""
    )
    if gain is None:
        other = next(role for role in COMPARED if role != shown.role)
        verdict = f"there is no value of the {ROLE_NAMES[other]} model to set beside it"
    elif gain.value > 0:
        verdict = (
            f"it gains most over the pre-trained model at layer {gain.layer} "
            f"({gain.value:+.2f}; closer in {gain.n_positive} of {gain.n_tasks} tasks)"
        )
    else:
        verdict = "at no layer is it closer to them than the pre-trained model"
    return (
        f"Similarity to the control models ({MEASURE_NAME}, median over "
        f"{counted(shown.n_tasks, 'task')}): the {ROLE_NAMES[shown.role]} model goes from "
        f"{shown.first:.2f} at layer {shown.first_layer} to {shown.last:.2f} at layer "
        f"{shown.last_layer}{dip}; {verdict}."
    )


def _yardstick_line(ceiling: Yardstick | None, foil: Yardstick | None) -> str:
    named = [("the control model of another seed", ceiling), ("another task's control model", foil)]
    parts = [
        f"{name} goes from {found.first:.2f} to {found.last:.2f} at layer {found.last_layer}, where "
        f"the {ROLE_NAMES[found.role]} model is closer in {found.n_closer} of {found.n_tasks} tasks"
        for name, found in named
        if found is not None
    ]
    return f"Yardsticks for it: {'; '.join(parts)}."


def _placement_line(regions: Regions | None, selection: Placement | None) -> str:
    found = region_names(regions)
    if regions is None:
        split = "Regions: not looked for"
    elif not found:
        split = "Regions: none found, as the curves give no evidence that the layers split"
    else:
        parts = (f"{name} {spans(range(first, last + 1))}" for name, first, last in found)
        number = f" ({len(found)}, as many as the curves show)" if regions.chosen else ""
        split = f"Regions, by layer{number}: {', '.join(parts)}"
    if selection is None:
        return f"{split}; no blocks were chosen for an adapter."
    many = "s" if len(selection.blocks) > 1 else ""
    layers = spans(depth_of(block) for block in selection.blocks)
    return (
        f"{split}; put the adapter into block{many} {spans(selection.blocks)} "
        f"(layer{many} {layers}), policy {selection.policy}."
    )
