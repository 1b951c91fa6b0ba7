"""`TaskMean`: a weighted mean per task."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric


class TaskMean(Metric):
    """A weighted mean for each of `n_tasks` tasks; NaN for a task that was never updated."""

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self, n_tasks: int) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(n_tasks, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(n_tasks, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self,
        task: Int[Tensor, " k"],
        total: Float[Tensor, " k"],
        weight: Float[Tensor, " k"] | None = None,
    ) -> None:
        """Add `total` (a sum over `weight` units, 1 by default) to the mean of `task`."""
        ones = torch.ones_like(total) if weight is None else weight
        self.total.index_add_(0, task, total.double())
        self.weight.index_add_(0, task, ones.double())

    def compute(self) -> Float[Tensor, " n_tasks"]:
        return self.total / self.weight  # 0 / 0 is NaN: undefined is not zero

    def by_task(self) -> list[float]:
        """The means as numbers."""
        return self.compute().reshape(-1).tolist()  # torchmetrics makes one task a scalar

    def overall(self) -> Float[Tensor, ""]:
        """The mean over tasks that have a value, every task counting the same."""
        return self.compute().nanmean()
