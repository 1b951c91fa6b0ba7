"""`cross_validate`: every L2 on every fold, for little more than one fit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from taskdepth.errors import DataError
from taskdepth.probing.descent import Stop
from taskdepth.probing.inputs import ALL_HERE
from taskdepth.probing.layout import Layout
from taskdepth.probing.part import Part, part_size
from taskdepth.probing.solver import check, check_left


@torch.no_grad()
def cross_validate(
    x: Float[Tensor, "*#problems n d"],
    y: Int[Tensor, "*#problems n"],
    l2s: Sequence[float],
    fold: Int[Tensor, " n"],
    *,
    n_classes: int | None = None,
    tolerance: float = 1e-4,
    max_steps: int = 1000,
) -> Float[Tensor, "*l2s_and_problems"]:
    """Accuracy of every l2 (first dimension) on all rows, each answered without its fold.

    All folds share the work on `x`, as in `fit_path`. The default `tolerance` is enough to choose by.
    A class that only one fold holds is never answered there.

    Raises:
        ConfigError, DataError: as `fit_logistic`, or `fold` does not leave rows for every fit.
    """
    if fold.shape != y.shape[-1:] or not y.numel() or int(fold.min()) < 0:
        raise DataError(f"fold {list(fold.shape)} must number the rows of y {list(y.shape)} from 0")
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    n_classes = n_classes or int(y.max()) + 1
    held_out = fold == torch.arange(int(fold.max()) + 1, device=fold.device)[:, None]
    n_leading = max(x.ndim - 2, y.ndim - 1)
    weight = (~held_out).to(x.dtype)[(slice(None), *[None] * n_leading)]
    check(x, y, l2s, weight, n_classes)
    check_left(weight, ALL_HERE)
    layout = Layout.of(x, y, weight)
    x, y = layout.inputs(x), layout.per_problem(y.long(), 1)
    weight = layout.per_problem(weight, 1)
    stop = Stop(tolerance, max_steps)
    size = part_size(x, x.shape[-2], y.shape[1] * n_classes * len(l2s))
    parts = []
    for first in range(0, len(x), size):
        at = slice(first, first + size)
        parts.append(Part(x[at], y[at], l2s, weight[at], n_classes, ALL_HERE).n_right(stop))
    right = [layout.restore(of_l2).sum(dim=0) / y.shape[-1] for of_l2 in torch.cat(parts, dim=1)]
    down = sorted(set(l2s), reverse=True)
    return torch.stack([right[down.index(l2)] for l2 in l2s])
