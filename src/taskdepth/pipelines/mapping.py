"""Depth × depth maps of one task: every model that is compared, and the task's control model."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations_with_replacement

from jaxtyping import Float
from torch import Tensor

from taskdepth.activations.pooling import Pooling
from taskdepth.results.depth_maps import DepthMap
from taskdepth.results.table import pooled_name
from taskdepth.results.undefined import Undefined
from taskdepth.similarity.grid import cka_grid
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import ModelRef


def depth_maps(
    states: Mapping[ModelRef, Float[Tensor, "n_depths n d_model"]],
    spec: TaskSpec,
    pooling: Pooling,
) -> tuple[list[DepthMap], list[Undefined]]:
    """Both CKA estimators for every two of the models, each with itself too; row i is one example."""
    # two models may have one name, never one role
    grid = cka_grid({str(ref.role): side for ref, side in states.items()})
    maps = [
        DepthMap(
            name=pooled_name(name, pooling),
            task=spec.name,
            cluster=spec.cluster,
            role=str(one.role),
            model=one.name,
            reference=str(other.role),
            reference_model=other.name,
            n=grid.n,
            n_tasks=1,
            values=values.numpy(),
        )
        for one, other in combinations_with_replacement(states, 2)
        for name, values in zip(
            ("linear_cka", "debiased_cka"), grid.between(one.role, other.role), strict=True
        )
    ]
    name = pooled_name("depth map", pooling)
    undefined = [
        Undefined(str(ref.role), spec.name, depth, name, reason)
        for ref in states
        for depth, reason in enumerate(grid.undefined[grid.rows(ref.role)])
        if reason
    ]
    return maps, undefined
