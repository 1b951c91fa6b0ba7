"""The probe stage: one problem per model, target and pooling, each at every depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from taskdepth.activations.pooling import Pooling
from taskdepth.config import ProbeConfig
from taskdepth.pipelines.extracting import ExamplesOf, Study
from taskdepth.probing.probes import fit_probes
from taskdepth.probing.problem import ProbeProblem
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


def _problem(plan: Plan, study: Study, examples: ExamplesOf) -> ProbeProblem:
    states, labels, groups, splits = [], [], [], []
    class_names = _class_names(plan)
    group_names = list(dict.fromkeys(_group(plan, spec) for spec in plan.specs))
    for spec in plan.specs:
        for split in Split:
            rows = examples(spec, split)
            kept = [
                i for i, row in enumerate(rows) if plan.target != "label" or row.label is not None
            ]
            x = study.read(plan.model, spec.name, split).states[plan.pooling]
            states.append(x[:, kept])
            labels += [class_names.index(_class(plan, spec, rows[i].label)) for i in kept]
            groups += [group_names.index(_group(plan, spec))] * len(kept)
            splits += [split] * len(kept)
    single = plan.specs[0] if plan.target == "label" else None
    return ProbeProblem(
        model=plan.model.name,
        role=str(plan.model.role),
        task=single.name if single else "all",
        cluster=single.cluster if single else "all",
        target=plan.target,
        pooling=str(plan.pooling),
        class_names=class_names,
        x=torch.cat(states, dim=1),
        y=torch.tensor(labels),
        is_train=torch.tensor([split is Split.TRAIN for split in splits]),
        is_validation=torch.tensor([split is Split.VALIDATION for split in splits]),
        is_test=torch.tensor([split is Split.TEST for split in splits]),
        group=None if single else torch.tensor(groups),
        groups=() if single else tuple(group_names),
    )


def _class_names(plan: Plan) -> tuple[str, ...]:
    if plan.target == "label":
        return plan.specs[0].labels
    return tuple(sorted({_class_of(spec, plan.target) for spec in plan.specs}))


def _class(plan: Plan, spec: TaskSpec, label: str | None) -> str:
    return str(label) if plan.target == "label" else _class_of(spec, plan.target)


def _group(plan: Plan, spec: TaskSpec) -> tuple[str, str]:
    """Recall is told by task for the task probe, by cluster for the cluster probe."""
    return (spec.name if plan.target == "task" else "all", spec.cluster)
