"""Loss balancing: what counts the same in the loss of a mixture of tasks."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from taskdepth.models.targets import sum_by


class Balance(StrEnum):
    TOKEN = "token"  # every target token: long targets count more
    EXAMPLE = "example"  # every example
    TASK = "task"  # every task of a batch
    SELF_PACED = "self_paced"  # every task, easy ones first
    COBA = "coba"  # every task, more weight where convergence is slow, less where it turns


def token_weights(
    balance: str,
    n_tokens: Float[Tensor, " n"],
    task_index: Int[Tensor, " n"],
    task_weights: Float[Tensor, " n_tasks"],
    total: Callable[[Tensor], Tensor] = lambda values: values,
) -> Float[Tensor, " n"]:
    """What each target token of an example counts; over all target tokens they sum to 1.

    Where a batch lies on several ranks, `total` sums over them, and they sum to 1 over all of it.
    `n_tokens` are the examples' target tokens. With `task`, `self_paced` and `coba` the loss is the
    mean of the batch's tasks, weighted by `task_weights`, and each task's is the mean over its tokens.
    """
    if balance == Balance.TOKEN:
        return torch.ones_like(n_tokens) / total(n_tokens.sum())
    if balance == Balance.EXAMPLE:
        return 1 / (n_tokens.clamp(min=1) * total((n_tokens > 0).sum()))
    tokens_of_task = total(sum_by(task_index, n_tokens, len(task_weights)))
    weights = torch.where(tokens_of_task > 0, task_weights, 0)
    return (weights / weights.sum() / tokens_of_task.clamp(min=1))[task_index]


class SelfPaced:
    """Task weights that begin with the easy tasks and end alike for all.

    The weights are a softmax of -(1 - progress) · z, where z are the tasks' training losses since the
    last update, standardised over tasks. In the spirit of self-paced learning (Kumar et al. 2010, NeurIPS;
    for tasks: Li et al. 2017, AAAI), with the pace tied to the training's progress.
    """

    validates = False

    def __init__(self, n_tasks: int) -> None:
        self.weights: Float[Tensor, " n_tasks"] = torch.ones(n_tasks)
        self._losses = torch.full((n_tasks,), torch.nan, dtype=torch.float64)

    def observe(self, losses: Float[Tensor, " n_tasks"], progress: float) -> None:
        """Take in mean training `losses`, NaN for tasks without any, at `progress` from 0 to 1."""
        seen = losses.double().cpu()
        self._losses = torch.where(seen.isnan(), self._losses, seen)
        known = self._losses[~self._losses.isnan()]
        if len(known) < 2:
            return
        z = (self._losses - known.mean()) / known.std().clamp(min=1e-12)  # all alike: all 0
        z = z.nan_to_num(0.0)  # not seen yet: neither easy nor hard
        self.weights = (torch.softmax(-(1 - progress) * z, dim=0) * len(z)).float()

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights, "losses": self._losses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weights, self._losses = state["weights"], state["losses"]


class CoBa:
    """CoBa's task weights, from the slopes of the tasks' validation losses.

    Gong et al. 2024, arXiv:2410.06741, section 3: each loss is divided by its first value; α_i(t) is the
    least-squares slope of task i over the last `history` observations, α(t) that of the largest loss.

    - relative convergence: RCS_i = softmax_i(n · α_i / Σ_j |α_j|): slow tasks get more;
    - absolute convergence: ACS_i = softmax_i(-T · α_i(t) / Σ_s |α_i(s)|): tasks that turn get less;
    - divergence factor: DF = min(1, t · softmax_t(-τ t α(t) / Σ_s |α(s)|)): how much the first counts.

    Weights are n · (DF · RCS + (1 - DF) · ACS), and 1 for the first `warmup` observations.
    """

    validates = True

    def __init__(
        self, n_tasks: int, history: int = 200, warmup: int = 20, tau: float = 5.0
    ) -> None:
        self.weights: Float[Tensor, " n_tasks"] = torch.ones(n_tasks)
        self._history = history
        self._warmup = warmup
        self._tau = tau
        self._first = torch.full((n_tasks,), torch.nan, dtype=torch.float64)
        self._losses = torch.empty(0, n_tasks, dtype=torch.float64)
        self._slopes = torch.empty(0, n_tasks, dtype=torch.float64)
        self._largest_slopes = torch.empty(0, dtype=torch.float64)

    def observe(self, losses: Float[Tensor, " n_tasks"], progress: float) -> None:
        """Take in mean validation `losses`, NaN for tasks without any; `progress` is not needed."""
        seen = losses.double().cpu()
        self._first = torch.where(self._first.isnan(), seen, self._first)
        relative = (seen / self._first).unsqueeze(0)
        self._losses = torch.cat([self._losses, relative])[-self._history :]
        slope = slopes(self._losses).nan_to_num(0.0)
        largest = self._losses.nan_to_num(-torch.inf).max(dim=1).values.unsqueeze(1)
        self._slopes = torch.cat([self._slopes, slope.unsqueeze(0)])[-self._history :]
        largest_slope = slopes(largest.masked_fill(largest.isinf(), torch.nan)).nan_to_num(0.0)
        self._largest_slopes = torch.cat([self._largest_slopes, largest_slope])
        if len(self._largest_slopes) > self._warmup:
            self.weights = self._weigh().float()

    def _weigh(self) -> Float[Tensor, " n_tasks"]:
        slope = self._slopes[-1]
        relative = torch.softmax(len(slope) * _share(slope), dim=0)
        over_time = len(self._slopes) * _share(self._slopes)[-1]
        absolute = torch.softmax(-over_time, dim=0)
        n_times = len(self._largest_slopes)
        times = -self._tau * n_times * _share(self._largest_slopes)
        divergence = min(1.0, n_times * float(torch.softmax(times, dim=0)[-1]))
        return len(slope) * (divergence * relative + (1 - divergence) * absolute)

    def state_dict(self) -> dict[str, Any]:
        names = ("weights", "_first", "_losses", "_slopes", "_largest_slopes")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def slopes(losses: Float[Tensor, "t n"]) -> Float[Tensor, " n"]:
    """The least-squares slope of each column over its rows that are not NaN; NaN with fewer than two.

    >>> slopes(torch.tensor([[4.0, 1.0], [3.0, float("nan")], [2.0, 5.0]])).tolist()
    [-1.0, 2.0]
    """
    known = ~losses.isnan()
    times = torch.arange(len(losses), dtype=losses.dtype).unsqueeze(1).expand_as(losses)
    n = known.sum(dim=0)
    centred = torch.where(known, times - (times * known).sum(dim=0) / n, 0)
    return (centred * losses.nan_to_num(0.0)).sum(dim=0) / centred.square().sum(dim=0)


def _share(values: Tensor) -> Tensor:
    """`values` over the sum of their sizes along the first dimension; 0 where all are 0."""
    return (values / values.abs().sum(dim=0)).nan_to_num(0.0)
