"""One problem whose rows lie on several ranks: the same fit as with all of them in one place."""

from __future__ import annotations

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor

from taskdepth.errors import DataError, TaskdepthError
from taskdepth.probing.descent import Stop
from taskdepth.probing.inputs import Rows
from taskdepth.probing.part import LogisticFit
from taskdepth.probing.solver import check, solve
from taskdepth.ranks import total


def fit_logistic_sharded(
    x: Float[Tensor, "*#problems n d"],
    y: Int[Tensor, "*#problems n"],
    l2: float,
    *,
    n_classes: int,
    weight: Float[Tensor, "*#problems n"] | None = None,
    tolerance: float = 1e-7,
    max_steps: int = 1000,
) -> LogisticFit:
    """`fit_logistic` on the rows of all ranks, where `x`, `y` and `weight` are those of this one.

    For inputs that no device can hold alone. Every rank calls it, with some rows of the same
    problems; all get the same fit. What is exchanged are sums of the size of the parameters, and once
    the covariance of the inputs.

    Raises:
        ConfigError, DataError: as `fit_logistic`, on every rank when one of them cannot go on.
    """
    problem: TaskdepthError | None = None
    try:
        check(x, y, [l2], weight, n_classes)
    except TaskdepthError as error:
        problem = error
    n_stopped = total(torch.tensor(float(problem is not None), device=x.device))
    if problem is not None:
        raise problem
    if n_stopped > 0:
        raise DataError("the rows of another rank cannot be fitted: its own error says why")
    rows = Rows(total, _from_first, sharded=True)
    return solve(x, y, [l2], weight, n_classes, Stop(tolerance, max_steps), rows)[0]


def _from_first(values: Tensor) -> Tensor:
    values = values.clone(memory_format=torch.contiguous_format)
    dist.broadcast(values, src=0)
    return values
