from __future__ import annotations

import math

import torch

from taskdepth.models.scores import TaskMean


def test_means_by_task_weighted_and_undefined() -> None:
    metric = TaskMean(3)
    metric.update(
        torch.tensor([0, 0, 2]), torch.tensor([6.0, 2.0, 5.0]), torch.tensor([3.0, 1.0, 5.0])
    )
    first, missing, last = metric.compute().tolist()
    assert (first, last) == (2.0, 1.0)
    assert math.isnan(missing)
    assert float(metric.overall()) == 1.5
    metric.reset()
    metric.update(torch.tensor([], dtype=torch.int64), torch.tensor([]))
    assert math.isnan(float(metric.overall()))


def test_one_task_is_still_a_list() -> None:
    metric = TaskMean(1)
    metric.update(torch.tensor([0]), torch.tensor([3.0]))
    assert metric.by_task() == [3.0]
