"""Scores of a mixture, task by task: `TaskMean` and `TaskScores`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchmetrics import Metric

from taskdepth import ranks


class TaskMean(Metric):
    """A weighted mean for each of `n_tasks` tasks; NaN for a task that was never updated.

    `over_ranks`: of the rows of all ranks; each of them then has to ask for it at the same time.
    """

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self, n_tasks: int, *, over_ranks: bool = False) -> None:
        super().__init__(sync_on_compute=False)  # a rank that has no row would not take part
        self._over_ranks = over_ranks
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

    def compute(self) -> Float[Tensor, "2 n_tasks"]:
        """The totals and the weights."""
        return torch.stack([self.total, self.weight])

    def sums(self) -> Float[Tensor, "2 n_tasks"]:
        """`compute`, without torchmetrics' warning where nothing was added yet."""
        found: Tensor = self.compute() if self.update_called else torch.zeros(2, len(self.total))
        found = found.to(self.total)
        return ranks.total(found) if self._over_ranks else found

    def means(self) -> Float[Tensor, " n_tasks"]:
        sums = self.sums()
        return sums[0] / sums[1]  # 0 / 0 is NaN: undefined is not zero

    def overall(self) -> Float[Tensor, ""]:
        """The mean over tasks that have a value, every task counting the same."""
        return self.means().nanmean()


class TaskScores(nn.Module):
    """Several `TaskMean`s over the same tasks."""

    def __init__(self, n_tasks: int, names: Sequence[str], *, over_ranks: bool = False) -> None:
        super().__init__()
        # under its plain name "loss" would be an attribute of other things
        self._means = nn.ModuleDict(
            {f"mean_{name}": TaskMean(n_tasks, over_ranks=over_ranks) for name in names}
        )
        self.names = tuple(names)

    def __getitem__(self, name: str) -> TaskMean:
        mean = self._means[f"mean_{name}"]
        assert isinstance(mean, TaskMean)  # for the type checker: nothing else is put there
        return mean

    def by_task(self, tasks: Sequence[str]) -> dict[str, dict[str, float]]:
        """Task → score → value; a score that a task does not have is left out."""
        groups = {task: task for task in tasks}
        return self.by_group(groups)

    def by_group(self, group_of: Mapping[str, str]) -> dict[str, dict[str, float]]:
        """Group → score → value over the rows of all its tasks; `group_of` lists the tasks in order."""
        groups = list(dict.fromkeys(group_of.values()))
        found: dict[str, dict[str, float]] = {group: {} for group in groups}
        place = torch.tensor([groups.index(group) for group in group_of.values()])
        for name in self.names:
            sums = self[name].sums().cpu()
            grouped = torch.zeros(2, len(groups), dtype=sums.dtype).index_add_(1, place, sums)
            for group, value in zip(groups, (grouped[0] / grouped[1]).tolist(), strict=True):
                if not math.isnan(value):
                    found[group][name] = value
        return found

    def reset(self) -> None:
        for name in self.names:
            self[name].reset()
