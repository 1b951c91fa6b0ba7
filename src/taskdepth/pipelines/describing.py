"""Rows about the shape of one model's states, whatever it is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

from jaxtyping import Float
from torch import Tensor

from taskdepth.activations.pooling import Pooling
from taskdepth.results.table import Row, pooled_name
from taskdepth.results.undefined import Undefined
from taskdepth.similarity.cka import NO_VARIANCE
from taskdepth.similarity.geometry import MIN_EXAMPLES, geometry_of
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import ModelRef

TOO_FEW = f"fewer than {MIN_EXAMPLES} examples"
NO_DIRECTION = "the states of an example are all zero"


def geometry_rows(
    names: Sequence[str],
    ref: ModelRef,
    spec: TaskSpec,
    pooling: Pooling,
    states: Float[Tensor, "n_depths n d_model"],
    seed: int,
) -> tuple[list[Row], list[Undefined]]:
    """Each of `names` at every depth; examples that are not finite at any depth are left out."""
    states = states[:, states.isfinite().all(dim=-1).all(dim=0)]
    n = states.shape[1]
    rows: list[Row] = []
    undefined: list[Undefined] = []
    if not names:
        return rows, undefined
    for depth, side in enumerate(states):
        found = asdict(geometry_of(side)) if n >= MIN_EXAMPLES else {}
        for name in names:
            value = found.get(name, math.nan)
            shown = pooled_name(name, pooling)
            if math.isnan(value):
                where = NO_DIRECTION if name == "anisotropy" else NO_VARIANCE
                reason = where if found else TOO_FEW
                undefined.append(Undefined(str(ref.role), spec.name, depth, shown, reason))
            rows.append(
                Row(
                    model=ref.name,
                    role=str(ref.role),
                    task=spec.name,
                    cluster=spec.cluster,
                    depth=depth,
                    kind="geometry",
                    name=shown,
                    value=value,
                    n=n,
                    seed=seed,
                )
            )
    return rows, undefined
