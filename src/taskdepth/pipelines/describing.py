"""Rows about the shape of one model's states, whatever it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from jaxtyping import Float
from torch import Tensor

from taskdepth.activations.pooling import Pooling
from taskdepth.results.table import Row, pooled_name
from taskdepth.results.undefined import Undefined
from taskdepth.similarity import geometry
from taskdepth.similarity.cka import NO_VARIANCE
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import ModelRef

TOO_FEW = f"fewer than {geometry.MIN_EXAMPLES} examples"
GEOMETRY: Mapping[str, tuple[Callable[[Tensor], Tensor], str]] = MappingProxyType(
    {
        "dimensions_for_variance": (geometry.dimensions_for_variance, NO_VARIANCE),
        "participation_ratio": (geometry.participation_ratio, NO_VARIANCE),
        "anisotropy": (geometry.anisotropy, "the states of an example are all zero"),
        "top_dimensions_share": (geometry.top_dimensions_share, NO_VARIANCE),
    }
)
"""What may be asked of a model's states by itself, and where it is undefined."""


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
    for name in names:
        function, undefined_where = GEOMETRY[name]
        shown = pooled_name(name, pooling)
        for depth, side in enumerate(states):
            value = float(function(side)) if n >= geometry.MIN_EXAMPLES else float("nan")
            if value != value:
                reason = TOO_FEW if n < geometry.MIN_EXAMPLES else undefined_where
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
