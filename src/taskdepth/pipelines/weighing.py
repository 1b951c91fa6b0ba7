"""What each adapter of a study does to the weights of every block."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean
from typing import cast

import torch
from torch import nn

from taskdepth import layers, terminal
from taskdepth.config import WeightsConfig
from taskdepth.models import plain_lora
from taskdepth.models.dispatched import weight_of
from taskdepth.pipelines.bases import Bases
from taskdepth.pipelines.roster import Roster
from taskdepth.results.table import Row
from taskdepth.results.undefined import Undefined
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import ModelRef, Role
from taskdepth.weights import (
    Spectrum,
    Update,
    effective_rank,
    intruder_dimensions,
    overlap_of_inputs,
    overlap_of_outputs,
)

Updates = Mapping[int, Mapping[str, Update]]  # block → module → update

NOT_PLAIN = "the adapter is no plain LoRA: its change of the weights is not read from its file"
NOT_BEGUN = "the adapter's change is zero"


@dataclass(frozen=True, slots=True)
class Weighed:
    """One adapter, and the task that it was trained on (None: all of them)."""

    ref: ModelRef
    spec: TaskSpec | None
    base: Path
    updates: Updates


def weight_rows(
    settings: WeightsConfig, specs: Sequence[TaskSpec], models: Roster, bases: Bases
) -> tuple[list[Row], list[Undefined]]:
    """Rows of kind `weights`, one for each measure, adapter and adapted block.

    Norms add up over a block's adapted matrices, counts are summed, ranks and overlaps averaged; `n` is the
    number of matrices. Overlaps are those of a task's adapter with the experimental model's.
    """
    weighed, undefined = _weighed(specs, models, bases)
    together = next((one for one in weighed if one.spec is None), None)
    rows: list[Row] = []
    # block by block: what is known of its own weights serves every adapter, and is forgotten
    blocks = sorted({(one.base, block) for one in weighed for block in one.updates})
    named = [(f"layer {layers.depth_of(block)}", (base, block)) for base, block in blocks]
    for base, block in terminal.tracked(named, "weigh adapters", "blocks"):
        own = _OwnWeights(bases.load(base).model.lm)
        for one in weighed:
            if one.base != base or block not in one.updates:
                continue
            found = _measured(settings, one.updates[block], own)
            rows += [_row(one, block, name, value) for name, value in found.items()]
            if together is not None and one.spec is not None:
                rows += _overlaps(one, together, block)
            if not found["update_norm"]:
                depth = layers.depth_of(block)
                undefined.append(Undefined(one.ref.role, _task(one), depth, "update", NOT_BEGUN))
    return rows, undefined


class _OwnWeights:
    """The pre-trained weights of one block's modules, as far as they are asked for."""

    def __init__(self, lm: nn.Module) -> None:
        self._lm = lm
        self.norm = cache(lambda module: float(self._weight(module).norm()))
        self.spectrum = cache(self._spectrum)

    def _weight(self, module: str) -> torch.Tensor:
        return weight_of(cast("nn.Linear", self._lm.get_submodule(module)))

    def _spectrum(self, module: str) -> Spectrum:
        found = Spectrum.of(self._weight(module))
        return Spectrum(found.u.cpu(), found.s.cpu(), found.v.cpu())


def _measured(
    settings: WeightsConfig, updates: Mapping[str, Update], own: _OwnWeights
) -> dict[str, float]:
    """What the adapter's change of one block comes to, by name."""
    scales = {module: update.singular_values() for module, update in updates.items()}
    norm = _total([float(values.norm()) for values in scales.values()])
    found = {
        "update_norm": norm,
        "update_share": norm / _total([own.norm(module) for module in updates]),
        "update_effective_rank": mean(float(effective_rank(s)) for s in scales.values()),
    }
    if settings.intruders:
        found["intruder_dimensions"] = sum(
            intruder_dimensions(
                own.spectrum(module),
                update,
                k=settings.intruder_k,
                threshold=settings.intruder_threshold,
            )
            for module, update in updates.items()
        )
    return found


def _weighed(
    specs: Sequence[TaskSpec], models: Roster, bases: Bases
) -> tuple[list[Weighed], list[Undefined]]:
    asked: list[tuple[ModelRef, TaskSpec | None]] = [(ref, None) for ref in models.compared]
    asked += [(models.controls[spec.name], spec) for spec in specs if spec.name in models.controls]
    found, undefined = [], []
    for ref, spec in asked:
        if ref.adapter is None:
            continue
        base = bases.folder_of(ref.path)
        lora = plain_lora.read(ref.adapter)
        if lora is None or not plain_lora.fits(lora, bases.load(base).model.lm):
            task = spec.name if spec else "all"
            undefined.append(Undefined(ref.role, task, 0, "adapter weights", NOT_PLAIN))
            continue
        found.append(Weighed(ref, spec, base, _by_block(lora, bases.load(base).model.lm)))
    return found, undefined


def _by_block(lora: plain_lora.PlainLora, lm: nn.Module) -> Updates:
    inside = f"{layers.blocks_path(lm)}."
    updates: dict[int, dict[str, Update]] = defaultdict(dict)
    for module in lora.a:
        if module.startswith(inside):  # a head or embeddings belong to no block
            block = int(module.removeprefix(inside).split(".")[0])
            updates[block][module] = Update.of(lora.b[module], lora.a[module], lora.scaling[module])
    return updates


def _total(norms: Sequence[float]) -> float:
    """Of matrices side by side."""
    return math.hypot(*norms)


def _task(one: Weighed) -> str:
    return one.spec.name if one.spec else "all"


def _row(one: Weighed, block: int, name: str, value: float, reference: str | None = None) -> Row:
    return Row(
        model=one.ref.name,
        role=str(one.ref.role),
        task=_task(one),
        cluster=one.spec.cluster if one.spec else "all",
        depth=layers.depth_of(block),
        kind="weights",
        name=name,
        value=value,
        n=len(one.updates[block]),
        reference=reference,
    )


def _overlaps(one: Weighed, together: Weighed, block: int) -> Iterator[Row]:
    pairs = [
        (update, together.updates[block][module])
        for module, update in one.updates[block].items()
        if module in together.updates.get(block, {}) and one.base == together.base
    ]
    if not pairs:
        return
    for name, overlap in (
        ("update_overlap_outputs", overlap_of_outputs),
        ("update_overlap_inputs", overlap_of_inputs),
    ):
        value = mean(float(overlap(own, other)) for own, other in pairs)
        yield _row(one, block, name, value, str(Role.EXPERIMENTAL))
