"""The probe stage: one problem per model, target and pooling, each at every depth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from taskdepth.activations.memory import HeldActivations
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.stored import StoredActivations
from taskdepth.config import ProbeConfig
from taskdepth.pipelines.planning import Plan, class_of, plan
from taskdepth.pipelines.study import ExamplesOf, Study
from taskdepth.probing.bag_of_tokens import BagOfTokens
from taskdepth.probing.minibatches import Minibatches, StreamedProblems, fit_in_minibatches
from taskdepth.probing.probes import fit_probes
from taskdepth.probing.problem import ProbeProblem, StateRows, StreamedProblem
from taskdepth.probing.result import Extras, ProbeResult
from taskdepth.probing.rows import bag_rows, to_rows, transfer_rows
from taskdepth.probing.streaming import JoinedRows
from taskdepth.probing.transfer import transfer
from taskdepth.results.table import Row, pooled_name
from taskdepth.results.undefined import Undefined
from taskdepth.seeds import stable_seed
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import Split

Prompts = tuple[tuple[tuple[int, ...], ...], ...]  # of each part of a problem


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one split of one task that take part in a problem, and the class of each."""

    spec: TaskSpec
    split: Split
    rows: tuple[int, ...]
    classes: tuple[int, ...]


class StoredRows:
    """The rows of one part, read from the store's mapped files."""

    def __init__(
        self, stored: StoredActivations | HeldActivations, pooling: Pooling, rows: Sequence[int]
    ) -> None:
        self._stored, self._pooling = stored, pooling
        self._rows = torch.tensor(rows, dtype=torch.int64)
        n_depths, _, d = stored.states(pooling, rows=[]).shape
        self.shape = (n_depths, len(rows), d)

    def read(self, rows: Int[Tensor, " k"]) -> Float[Tensor, "n_depths k d"]:
        return self._stored.states(self._pooling, rows=self._rows[rows].tolist())


class Problems:
    """The planned problems; their states are read from the store as far as they are asked for."""

    def __init__(self, plans: Sequence[Plan], study: Study, examples: ExamplesOf) -> None:
        self._plans = plans
        self._study = study
        self._examples = examples

    def __len__(self) -> int:
        return len(self._plans)

    def __getitem__(self, index: int) -> StreamedProblem:
        asked = self._plans[index]
        parts = _parts(asked, self._study, self._examples)
        states = [
            StoredRows(
                self._study.open(asked.model, part.spec.name, part.split), asked.pooling, part.rows
            )
            for part in parts
        ]
        return _problem(asked, parts, JoinedRows(states))


class Bags:
    """The same problems with the tokens of the prompts in the place of states.

    Models that read the same tokens, and poolings, share one: `of` leads from plan to problem.
    """

    def __init__(self, plans: Sequence[Plan], study: Study, examples: ExamplesOf) -> None:
        self._study = study
        self._examples = examples
        numbers: dict[tuple[object, Prompts], int] = {}
        self._made_of: list[tuple[Plan, Prompts]] = []
        self.of: list[int] = []
        for asked in plans:
            prompts = tuple(
                study.prompts(asked.model, part.spec.name, part.split)
                for part in _parts(asked, study, examples)
            )
            key = ((asked.target, asked.specs), prompts)
            if key not in numbers:
                numbers[key] = len(self._made_of)
                self._made_of.append((asked, prompts))
            self.of.append(numbers[key])

    def __len__(self) -> int:
        return len(self._made_of)

    def __getitem__(self, index: int) -> StreamedProblem:
        asked, prompts = self._made_of[index]
        parts = _parts(asked, self._study, self._examples)
        rows = [of_part[i] for part, of_part in zip(parts, prompts, strict=True) for i in part.rows]
        is_train = torch.tensor([part.split is Split.TRAIN for part in parts for _ in part.rows])
        return replace(_problem(asked, parts, BagOfTokens(rows, is_train)), is_scaled=True)


class Held:
    """Problems with all of their states in memory, one problem at a time."""

    def __init__(self, problems: StreamedProblems) -> None:
        self._problems = problems

    def __len__(self) -> int:
        return len(self._problems)

    def __getitem__(self, index: int) -> ProbeProblem:
        return self._problems[index].held()


def probe_rows(
    config: ProbeConfig, specs: Sequence[TaskSpec], study: Study, examples: ExamplesOf
) -> tuple[list[Row], list[Undefined]]:
    """Rows of every probe, and which targets there is nothing to tell apart for."""
    plans, undefined = plan(config, specs, study, examples)
    settings, seed = config.probe, config.seed
    problems = Problems(plans, study, examples)
    extras = Extras(
        settings.interval, tuple(settings.scores), settings.mdl, keep_probes=settings.transfer
    )
    results = _fit(config, problems, extras)
    rows = [row for result in results for row in to_rows(result, seed)]
    if settings.bag_of_tokens:
        bags = Bags(plans, study, examples)
        read = _fit(config, bags, Extras(settings.interval, control_task=False))
        pairs = zip(results, bags.of, strict=True)
        rows += chain.from_iterable(bag_rows(result, read[i], seed) for result, i in pairs)
    if settings.transfer:
        rows += _transfers(config, plans, problems, results)
    return rows, undefined + [item for result in results for item in _undefined_scores(result)]


def _fit(config: ProbeConfig, problems: StreamedProblems, extras: Extras) -> list[ProbeResult]:
    settings = config.probe
    shared: dict[str, Any] = {"l2s": settings.l2s, "seed": config.seed, "extras": extras}
    shared["accelerator"] = config.extraction.accelerator
    if settings.solver == "adamw":
        return fit_in_minibatches(problems, Minibatches(**vars(settings.minibatch)), **shared)
    return fit_probes(Held(problems), folds=settings.folds, **shared)


def _transfers(
    config: ProbeConfig,
    plans: Sequence[Plan],
    problems: Problems,
    results: Sequence[ProbeResult],
) -> Iterator[Row]:
    """Every label probe on the test rows of every other task with its label set."""
    for i, asked in enumerate(plans):
        others = [j for j, other in enumerate(plans) if j != i and _transferable(other, asked)]
        if not others:
            continue
        problem = problems[i].held()
        for j in others:
            source = plans[j].specs[0].name
            probes = results[j].probes
            if probes is None:
                continue
            seed = stable_seed(config.seed, source, problem.task, "transfer")
            found = transfer(probes, source, problem, config.probe.interval, seed)
            yield from transfer_rows(results[i], found, config.seed)


def _transferable(source: Plan, to: Plan) -> bool:
    same = (source.target, source.model, source.pooling) == (to.target, to.model, to.pooling)
    return same and to.target == "label" and source.class_names == to.class_names


def _undefined_scores(result: ProbeResult) -> list[Undefined]:
    """A score that is undefined at one depth is so at all: its reason lies in the test rows."""
    return [
        Undefined(
            result.role,
            result.task,
            0,
            pooled_name(f"{result.target} probe: {name}", result.pooling),
            "a class has no test rows",
        )
        for name, values in result.scores.items()
        if math.isnan(values[0])
    ]


def _parts(asked: Plan, study: Study, examples: ExamplesOf) -> list[Part]:
    """The rows of a problem, the same for every model."""
    parts = []
    for spec in asked.specs:
        for split in Split:
            if asked.classes is not None:
                found = asked.classes.of[split]
                pairs = [(i, number) for i, number in enumerate(found) if number is not None]
            else:
                number = asked.class_names.index(class_of(spec, asked.target))
                pairs = [(i, number) for i in range(len(examples(spec, split)))]
            left_out = study.left_out(spec.name, split)
            pairs = [pair for pair in pairs if pair[0] not in left_out]
            rows, classes = (tuple(pair[k] for pair in pairs) for k in range(2))
            parts.append(Part(spec, split, rows, classes))
    return parts


def _problem(asked: Plan, parts: Sequence[Part], states: StateRows) -> StreamedProblem:
    single = asked.single
    splits = [part.split for part in parts for _ in part.rows]
    group_names = list(dict.fromkeys(_group(asked, spec) for spec in asked.specs))
    groups = [group_names.index(_group(asked, part.spec)) for part in parts for _ in part.rows]
    covered = asked.classes if asked.target in ("option", "first_token") else None
    return StreamedProblem(
        model=asked.model.name,
        role=str(asked.model.role),
        task=single.name if single else "all",
        cluster=single.cluster if single else "all",
        target=asked.target,
        pooling=str(asked.pooling),
        class_names=asked.class_names,
        states=states,
        y=torch.tensor([number for part in parts for number in part.classes]),
        is_train=torch.tensor([split is Split.TRAIN for split in splits]),
        is_validation=torch.tensor([split is Split.VALIDATION for split in splits]),
        is_test=torch.tensor([split is Split.TEST for split in splits]),
        group=None if single else torch.tensor(groups),
        groups=() if single else tuple(group_names),
        coverage=None if covered is None else covered.coverage,
    )


def _group(asked: Plan, spec: TaskSpec) -> tuple[str, str]:
    """Recall is told by task for the task probe, by cluster for the cluster probe."""
    return (spec.name if asked.target == "task" else "all", spec.cluster)
