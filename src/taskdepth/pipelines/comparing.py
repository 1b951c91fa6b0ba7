"""The compare stage: each compared model against the control model of every task, at every depth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth import terminal
from taskdepth.activations.pooling import Pooling
from taskdepth.config import ProbeConfig
from taskdepth.pipelines.extracting import Study
from taskdepth.results.table import Row, pooled_name
from taskdepth.results.undefined import Undefined
from taskdepth.seeds import stable_seed
from taskdepth.similarity.comparison import Comparison, Estimate, compare, join
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import ModelRef, Role, Split


def similarity_rows(
    config: ProbeConfig, specs: Sequence[TaskSpec], study: Study
) -> tuple[list[Row], list[Undefined]]:
    """Rows of both CKA estimators with interval and shuffled-rows floor, and where there is no value."""
    rows: list[Row] = []
    undefined: list[Undefined] = []
    poolings = [Pooling(name) for name in config.similarity.poolings]
    for spec in terminal.tracked([(spec.name, spec) for spec in specs], "compare", "tasks"):
        control = study.models.controls[spec.name]
        for ref in study.models.compared:
            for pooling in poolings:
                found = _compare(config, study, spec, ref, control, pooling)
                rows += _rows(found, ref, spec, pooling, config.seed)
                undefined += [
                    Undefined(
                        ref.role, spec.name, depth, pooled_name("debiased_cka", pooling), reason
                    )
                    for depth, reason in enumerate(found.undefined)
                    if reason
                ]
    return rows, undefined


def _compare(
    config: ProbeConfig,
    study: Study,
    spec: TaskSpec,
    ref: ModelRef,
    control: ModelRef,
    pooling: Pooling,
) -> Comparison:
    settings = config.similarity
    ids, x = _states(settings.splits, study, ref, spec, pooling)
    ids_control, y = _states(settings.splits, study, control, spec, pooling)
    rows_x, rows_y = join(ids, ids_control)
    if settings.match_n:
        n = min(study.n_rows(task, settings.splits) for task in study.models.controls)
        order = torch.Generator().manual_seed(stable_seed(config.seed, spec.name, "match_n"))
        kept = torch.randperm(len(rows_x), generator=order)[:n].sort().values
        rows_x, rows_y = rows_x[kept], rows_y[kept]
    return compare(
        x[:, rows_x],
        y[:, rows_y],
        n_bootstrap=settings.n_bootstrap,
        n_shuffles=settings.n_shuffles,
        seed=stable_seed(config.seed, spec.name, "similarity"),
    )


def _states(
    splits: Sequence[str], study: Study, ref: ModelRef, spec: TaskSpec, pooling: Pooling
) -> tuple[list[str], Float[Tensor, "n_depths n d_model"]]:
    parts = [study.read(ref, spec.name, Split(split)) for split in splits]
    ids = [example_id for part in parts for example_id in part.example_ids]
    return ids, torch.cat([part.states[pooling] for part in parts], dim=1)


def _rows(
    found: Comparison, ref: ModelRef, spec: TaskSpec, pooling: Pooling, seed: int
) -> Iterator[Row]:
    measures: list[tuple[str, Estimate]] = [
        ("linear_cka", found.linear_cka),
        ("debiased_cka", found.debiased_cka),
    ]
    for name, estimate in measures:
        for depth in range(len(estimate.value)):
            measured = Row(
                model=ref.name,
                role=str(ref.role),
                task=spec.name,
                cluster=spec.cluster,
                depth=depth,
                kind="similarity",
                name=pooled_name(name, pooling),
                value=float(estimate.value[depth]),
                lower=float(estimate.lower[depth]),
                upper=float(estimate.upper[depth]),
                n=found.n,
                seed=seed,
                reference=str(Role.CONTROL),
            )
            yield measured
            yield replace(
                measured,
                name=pooled_name(f"{name}_shuffled", pooling),
                value=float(estimate.shuffled[depth]),
                lower=None,
                upper=None,
            )
