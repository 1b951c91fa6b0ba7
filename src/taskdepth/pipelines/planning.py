"""Which probes a study asks for, before any state is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taskdepth.activations.pooling import Pooling
from taskdepth.config import ProbeConfig
from taskdepth.pipelines.study import ExamplesOf, Study
from taskdepth.probing import targets
from taskdepth.probing.targets import Classes
from taskdepth.results.undefined import Undefined
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import ModelRef, Split

ACROSS_TASKS = ("task", "cluster")
NOBODY = {
    "option": "no chosen task offers options",
    "first_token": "no chosen task is a generation task",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """One problem before its states are read. `specs`: the tasks whose rows take part; `classes`: those
    of a single task's rows, None for targets across tasks."""

    model: ModelRef
    target: str
    pooling: Pooling
    specs: tuple[TaskSpec, ...]
    classes: Classes | None = None

    @property
    def single(self) -> TaskSpec | None:
        """The task of a target that is told within one task."""
        return None if self.target in ACROSS_TASKS else self.specs[0]

    @property
    def class_names(self) -> tuple[str, ...]:
        if self.classes is not None:
            return self.classes.names
        return tuple(sorted({class_of(spec, self.target) for spec in self.specs}))


def class_of(spec: TaskSpec, target: str) -> str:
    """The class of all rows of a task, for the targets `task` and `cluster`."""
    return spec.name if target == "task" else spec.cluster


def plan(
    config: ProbeConfig, specs: Sequence[TaskSpec], study: Study, examples: ExamplesOf
) -> tuple[list[Plan], list[Undefined]]:
    """Every problem, and for which targets there is nothing to tell apart."""
    plans: list[Plan] = []
    undefined: list[Undefined] = []
    for ref in study.models.probed:
        within = {
            target: _within(config, target, specs, ref, study, examples)
            for target in config.probe.targets
            if target not in ACROSS_TASKS
        }
        for target, classes in within.items():
            undefined += _reasons(ref, target, classes)
        for pooling in map(Pooling, config.probe.poolings):
            for target in config.probe.targets:
                if target in within:
                    plans += [
                        Plan(ref, target, pooling, (spec,), found)
                        for spec, found in within[target]
                        if target == "label" or found.problem is None
                    ]
                elif len({class_of(spec, target) for spec in specs}) > 1:
                    plans.append(Plan(ref, target, pooling, tuple(specs)))
                else:
                    reason = f"all chosen tasks are of one {target}: nothing to tell apart"
                    undefined.append(Undefined(ref.role, "all", 0, f"{target} probe", reason))
    return plans, undefined


def _within(
    config: ProbeConfig,
    target: str,
    specs: Sequence[TaskSpec],
    ref: ModelRef,
    study: Study,
    examples: ExamplesOf,
) -> list[tuple[TaskSpec, Classes]]:
    """The tasks that a target is about, with the classes of their rows."""
    found = []
    for spec in specs:
        rows = {split: examples(spec, split) for split in Split}
        if target == "label" and spec.labels:
            found.append((spec, targets.labels(spec, rows)))
        elif target == "option" and any(row.options for row in rows[Split.TRAIN]):
            found.append((spec, targets.options(rows)))
        elif target == "first_token" and spec.kind is Kind.GENERATION:
            n_classes = config.probe.first_token_classes
            found.append((spec, targets.first_tokens(rows, study.tokeniser(ref), n_classes)))
    return found


def _reasons(
    ref: ModelRef, target: str, classes: Sequence[tuple[TaskSpec, Classes]]
) -> list[Undefined]:
    name = f"{target} probe"
    if target == "label":
        return []  # tasks without labels have nothing to be undefined
    if not classes:
        return [Undefined(ref.role, "all", 0, name, NOBODY[target])]
    return [
        Undefined(ref.role, spec.name, 0, name, found.problem)
        for spec, found in classes
        if found.problem is not None
    ]
