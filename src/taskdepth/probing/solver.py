"""`fit_logistic`: regularised logistic regressions to their optimum, many at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from taskdepth.errors import ConfigError, DataError
from taskdepth.probing.descent import Stop
from taskdepth.probing.inputs import ALL_HERE, Rows
from taskdepth.probing.layout import Layout
from taskdepth.probing.part import LogisticFit, Part, part_size

__all__ = ["LogisticFit", "fit_logistic", "fit_path"]


def fit_logistic(
    x: Float[Tensor, "*#problems n d"],
    y: Int[Tensor, "*#problems n"],
    l2: float,
    *,
    weight: Float[Tensor, "*#problems n"] | None = None,
    n_classes: int | None = None,
    tolerance: float = 1e-7,
    max_steps: int = 1000,
) -> LogisticFit:
    """Minimise the sum of log-losses + l2/2 * ||W||^2, the bias free, to the optimum.

    The leading dimensions are independent problems. Those of `x`, `y` and `weight` are broadcast
    against each other, and problems that share inputs share the work on them: `x [depths, n, d]`
    with `y [2, 1, n]` is 2 * depths problems. A row's log-loss counts `weight` times; weight 0
    leaves the row out, so `weight [folds, 1, n]` fits every fold at once. Stops when the gap to the
    optimum, as the way down tells it, is below `tolerance` times the objective; 3e-5 is enough for
    accuracies. The products with `x` are made in its dtype, half precision in float32.

    Raises:
        ConfigError: `l2` is not positive and finite, or there are fewer than two classes.
        DataError: the shapes do not fit, a value of `x` is not finite, a label is out of range, or
            weights are negative, not finite or all 0.

    >>> x, y = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([0, 0, 1, 1])
    >>> fit = fit_logistic(x, y, l2=1.0)
    >>> fit.predict(torch.tensor([[0.4], [2.6]]))
    tensor([0, 1])
    """
    return solve(x, y, [l2], weight, n_classes, Stop(tolerance, max_steps))[0]


def fit_path(
    x: Float[Tensor, "*#problems n d"],
    y: Int[Tensor, "*#problems n"],
    l2s: Sequence[float],
    *,
    weight: Float[Tensor, "*#problems n"] | None = None,
    n_classes: int | None = None,
    tolerance: float = 1e-7,
    max_steps: int = 1000,
) -> list[LogisticFit]:
    """`fit_logistic` for every value of `l2s`, in their order.

    The work on `x` is done once. Each fit starts from those of larger l2, or, where that would not
    help, all are sought at once.

    Raises:
        ConfigError, DataError: as `fit_logistic`.
    """
    return solve(x, y, l2s, weight, n_classes, Stop(tolerance, max_steps))


@torch.no_grad()
def solve(
    x: Tensor,
    y: Tensor,
    l2s: Sequence[float],
    weight: Tensor | None,
    n_classes: int | None,
    stop: Stop,
    rows: Rows = ALL_HERE,
) -> list[LogisticFit]:
    """`fit_path`, with rows that may lie on several ranks."""
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()
    if n_classes is None:
        n_classes = int(y.max()) + 1 if y.numel() else 0
    check(x, y, l2s, weight, n_classes)
    check_left(weight, rows)
    layout = Layout.of(x, y) if weight is None else Layout.of(x, y, weight)
    x, y = layout.inputs(x), layout.per_problem(y.long(), 1)
    weight = None if weight is None else layout.per_problem(weight, 1)
    # parts are the same on all ranks, whose sums they take part in
    n_rows = rows.sum(torch.tensor(float(x.shape[-2]), dtype=torch.float64, device=x.device))
    size = part_size(x, int(n_rows), y.shape[1] * n_classes * len(l2s))
    parts = []
    for first in range(0, len(x), size):
        at = slice(first, first + size)
        of_part = None if weight is None else weight[at]
        parts.append(Part(x[at], y[at], l2s, of_part, n_classes, rows).fits(stop))
    return [_joined([fits[l2] for fits in parts], layout) for l2 in l2s]


def check(
    x: Tensor, y: Tensor, l2s: Sequence[float], weight: Tensor | None, n_classes: int
) -> None:
    """Refuse what cannot be fitted, before any work is done.

    Raises:
        ConfigError, DataError: as `fit_logistic`.
    """
    if wrong := [l2 for l2 in l2s if not (math.isfinite(l2) and l2 > 0)]:
        raise ConfigError(f"l2 must be positive and finite, not {wrong[0]}")
    if x.ndim < 2 or y.ndim < 1 or x.shape[-2] != y.shape[-1] or 0 in x.shape:
        raise DataError(f"x {list(x.shape)} and y {list(y.shape)} do not describe the same rows")
    if n_classes < 2:
        raise ConfigError(f"a classifier needs two classes or more, not {n_classes}")
    if int(y.min()) < 0 or int(y.max()) >= n_classes:
        raise DataError(f"a label lies outside 0 to {n_classes - 1}")
    if not all(bool(end.isfinite()) for end in torch.aminmax(x)):
        raise DataError("x holds values that are not finite")
    if weight is None:
        return
    if weight.ndim < 1 or weight.shape[-1] != y.shape[-1]:
        raise DataError(f"weight {list(weight.shape)} and y {list(y.shape)} differ in their rows")
    if not bool((weight.isfinite() & (weight >= 0)).all()):
        raise DataError("weights must be finite and not negative")


def check_left(weight: Tensor | None, rows: Rows) -> None:
    """Refuse a problem of which no row is left.

    Raises:
        DataError: the weights leave a problem without rows.
    """
    if weight is not None and not bool(rows.sum((weight > 0).double().sum(dim=-1)).all()):
        raise DataError("the weights of a problem are all 0")


def _joined(parts: Sequence[LogisticFit], layout: Layout) -> LogisticFit:
    """Parts `[b, g, …]` as `[*problems, …]`."""
    names = [field.name for field in fields(LogisticFit)]
    return LogisticFit(
        *(layout.restore(torch.cat([getattr(part, name) for part in parts])) for name in names)
    )
