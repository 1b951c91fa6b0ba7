"""The probe stage: one problem per model, target and pooling, each at every depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from taskdepth.activations.pooling import Pooling
from taskdepth.config import ProbeConfig
from taskdepth.pipelines.extracting import ExamplesOf, Study
from taskdepth.probing.probes import ProbeProblem, fit_probes
from taskdepth.probing.rows import to_rows
from taskdepth.results.table import Row
from taskdepth.results.undefined import Undefined
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import ModelRef, Split


@dataclass(frozen=True, slots=True)
class Plan:
    """One problem before its states are read. `specs`: the tasks whose rows take part."""

    model: ModelRef
    target: str
    pooling: Pooling
    specs: tuple[TaskSpec, ...]


class Problems:
    """The planned problems; each is read from the store when it is asked for, and not kept."""

    def __init__(self, plans: Sequence[Plan], study: Study, examples: ExamplesOf) -> None:
        self._plans = plans
        self._study = study
        self._examples = examples

    def __len__(self) -> int:
        return len(self._plans)

    def __getitem__(self, index: int) -> ProbeProblem:
        return _problem(self._plans[index], self._study, self._examples)


def probe_rows(
    config: ProbeConfig, specs: Sequence[TaskSpec], study: Study, examples: ExamplesOf
) -> tuple[list[Row], list[Undefined]]:
    """Rows of every probe, and which targets there is nothing to tell apart for."""
    plans, undefined = _plan(config, specs, study)
    results = fit_probes(
        Problems(plans, study, examples),
        l2s=config.probe.l2s,
        seed=config.seed,
        accelerator=config.extraction.accelerator,
    )
    return [row for result in results for row in to_rows(result, config.seed)], undefined


def _plan(
    config: ProbeConfig, specs: Sequence[TaskSpec], study: Study
) -> tuple[list[Plan], list[Undefined]]:
    plans: list[Plan] = []
    undefined: list[Undefined] = []
    for ref in study.models.compared:
        for pooling in map(Pooling, config.probe.poolings):
            for target in config.probe.targets:
                if target == "label":
                    plans += [Plan(ref, target, pooling, (spec,)) for spec in specs if spec.labels]
                elif len({_class_of(spec, target) for spec in specs}) > 1:
                    plans.append(Plan(ref, target, pooling, tuple(specs)))
                else:
                    reason = f"all chosen tasks are of one {target}: nothing to tell apart"
                    undefined.append(Undefined(ref.role, "all", 0, f"{target} probe", reason))
    return plans, undefined


def _class_of(spec: TaskSpec, target: str) -> str:
    return spec.name if target == "task" else spec.cluster
