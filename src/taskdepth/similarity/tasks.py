"""Do two tasks share a representation? Similarity of tasks at one depth of one model.

Two tasks have different prompts: there is no row of one that belongs to a row of the other, so that
CKA and its kin have nothing to pair. What both share is the model's own basis, and in it two things
can be asked of a task: *where* its prompts lie (the mean), and *along which directions they differ*
(the covariance). Both measures here are cosines, one of means, one of covariances. A cosine of raw
means is near 1 for any two tasks, since all states of a model share a large common part
(Ethayarajh 2019, arXiv:1909.00512); the means are therefore taken from the mean over tasks.

Squared lengths of sample means and sample covariances are too large by what sampling adds, which
shrinks every plain cosine and most that of the smallest or noisiest task. Products of two different
tasks have no such excess, as their samples are independent. So the lengths are unbiased estimates
instead (U-statistics), and tasks can be compared with one another. The price: a value may lie
outside [-1, 1], the further the less a length stands out of its noise, and there is none (NaN) where
a length is estimated as zero or less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth.errors import DataError
from taskdepth.similarity.centring import centred
from taskdepth.similarity.cka import MIN_EXAMPLES, positive_or_nan, unbiased_hsic

MIN_TASKS = 3  # two tasks lie on opposite sides of their mean, whatever they are


@dataclass(frozen=True, slots=True, eq=False)
class TaskSimilarity:
    """Every task with every other, float64, 1 on the diagonal; NaN where a task has no value.

    `centroid_cosine`: do the tasks lie in the same direction from the mean over tasks?
    `covariance_cosine`: do their prompts differ along the same directions, equally much? 0 where these
    are orthogonal, 1 where the covariances are proportional.
    """

    centroid_cosine: Float[Tensor, "tasks tasks"]
    covariance_cosine: Float[Tensor, "tasks tasks"]


def task_similarity(states: Sequence[Float[Tensor, "_ p"]]) -> TaskSimilarity:
    """Compare all tasks at one depth: `states[t]` are those of task t, one row per prompt.

    The number of rows may differ; small tasks are noisier, not less similar. Both measures are
    invariant to translation, isotropic scaling and orthogonal maps of the model's basis, the same for
    all tasks. Rows that are not finite make their task NaN.

    Raises:
        DataError: fewer than 3 tasks, fewer than 4 rows of one, or different widths.
    """
    if len(states) < MIN_TASKS or any(rows.ndim != 2 for rows in states):
        raise DataError(f"tasks are compared from {MIN_TASKS} on, each a matrix of its states")
    if len({rows.shape[1] for rows in states}) > 1 or min(map(len, states)) < MIN_EXAMPLES:
        raise DataError(
            f"every task needs {MIN_EXAMPLES} rows or more of the same width: the shapes are "
            f"{sorted({tuple(rows.shape) for rows in states})}"
        )
    # what all tasks have in common is taken off first, or it would cost the squares their digits
    origin = torch.stack([_mean_of_finite(rows) for rows in states]).mean(0)
    shifted = [rows.to(torch.float64) - origin for rows in states]
    return TaskSimilarity(
        _cosines(*_centroid_products(shifted)), _cosines(*_covariance_products(shifted))
    )


def _mean_of_finite(rows: Float[Tensor, "n p"]) -> Float[Tensor, " p"]:
    return rows.to(torch.float64).mean(0).nan_to_num(0, 0, 0)


def _centroid_products(
    states: Sequence[Float[Tensor, "_ p"]],
) -> tuple[Float[Tensor, "tasks tasks"], Float[Tensor, " tasks"]]:
    """Unbiased inner products of the tasks' means, seen from the mean over tasks; and their scales."""
    means = torch.stack([rows.mean(0) for rows in states])
    n = torch.tensor([float(len(rows)) for rows in states], dtype=torch.float64)
    lengths = torch.stack([rows.square().sum(1).mean() for rows in states])
    products = means @ means.T
    # the mean of x_a·x_b over a ≠ b
    own = (n * products.diagonal() - lengths) / (n - 1)
    products = products.diagonal_scatter(own)
    # double centring is linear, so it keeps the estimate unbiased; a task that is NaN is left out of it
    known = own.isfinite()
    inner = products[known][:, known]
    inner = inner - inner.mean(0) - inner.mean(1, keepdim=True) + inner.mean()
    centred_products = torch.full_like(products, torch.nan)
    centred_products[known.nonzero(), known.nonzero().T] = inner
    return centred_products, lengths


def _covariance_products(
    states: Sequence[Float[Tensor, "_ p"]],
) -> tuple[Float[Tensor, "tasks tasks"], Float[Tensor, " tasks"]]:
    """Unbiased inner products tr(Σ_s Σ_t) of the tasks' covariances; and their scales."""
    rows = [centred(part) for part in states]
    squares = _squared_products(rows)
    n = torch.tensor([float(len(part)) for part in rows], dtype=torch.float64)
    own = torch.stack(
        [
            unbiased_hsic(square, norms, norms)
            for square, norms in zip(
                squares.diagonal(), (part.square().sum(1) for part in rows), strict=True
            )
        ]
    )
    products = squares / ((n[:, None] - 1) * (n - 1))
    return products.diagonal_scatter(own / (n * (n - 3))), products.diagonal()


def _squared_products(rows: list[Float[Tensor, "_ p"]]) -> Float[Tensor, "tasks tasks"]:
    """‖x_s x_tᵀ‖² of every two tasks: from their covariances, or from Gram blocks where these are smaller."""
    n_rows, width = sum(map(len, rows)), rows[0].shape[1]
    if len(rows) * width**2 <= n_rows**2:
        covariances = torch.stack([part.T @ part for part in rows]).flatten(1)
        return covariances @ covariances.T
    stacked = torch.cat(rows)
    owner = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor([*map(len, rows)]))
    found = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for t, part in enumerate(rows):
        here_and_after = owner >= t  # the other half is the same
        squares = (part @ stacked[here_and_after].T).square().sum(0)
        found[t] = found[t].index_add(0, owner[here_and_after], squares)
    return found + found.triu(1).T


def _cosines(
    products: Float[Tensor, "tasks tasks"], scales: Float[Tensor, " tasks"]
) -> Float[Tensor, "tasks tasks"]:
    """Products over the square roots of their diagonal, NaN where that is rounding beside `scales`."""
    own = positive_or_nan(products.diagonal(), scales)
    return products / (own[:, None].sqrt() * own.sqrt())
