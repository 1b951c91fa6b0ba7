"""The sentences that say what was found, one for each finding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from taskdepth.layers import depth_of
from taskdepth.results.finding_numbers import (
    Gain,
    IdentityFinding,
    LabelFinding,
    SimilarityFinding,
    Yardstick,
)
from taskdepth.results.layer_grid import COMPARED, MEASURE_NAME, ROLE_NAMES
from taskdepth.results.regions import Placement, Regions, region_names
from taskdepth.results.wording import counted, spans
from taskdepth.types import Role


def measured(
    n_tasks: int, n_clusters: int, n_layers: int, roles: Sequence[Role], n_controls: int
) -> str:
    """What was measured, of which models."""
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


def identity(finding: IdentityFinding | None) -> str:
    """From where on a probe tells the tasks apart."""
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


def labels(findings: Sequence[LabelFinding]) -> str:
    """Where labels can be read; the first model in full, the others beside it."""
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


def similarity(findings: Sequence[SimilarityFinding], gain: Gain | None, *, measured: bool) -> str:
    """How alike the first model and the control models are, and the gain over the pre-trained model."""
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


def yardsticks(ceiling: Yardstick | None, foil: Yardstick | None) -> str:
    """What a ceiling and foils reach, to hold the similarity against; one of them at least."""
    named = [("the control model of another seed", ceiling), ("another task's control model", foil)]
    parts = [
        f"{name} goes from {found.first:.2f} to {found.last:.2f} at layer {found.last_layer}, where "
        f"the {ROLE_NAMES[found.role]} model is closer in {found.n_closer} of {found.n_tasks} tasks"
        for name, found in named
        if found is not None
    ]
    return f"Yardsticks for it: {'; '.join(parts)}."


def placement(regions: Regions | None, selection: Placement | None) -> str:
    """The regions, and where the adapter goes."""
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


def _percent(share: float) -> str:
    return f"{share:.1%}" if np.isfinite(share) else "an unknown share"
