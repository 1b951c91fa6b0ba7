from __future__ import annotations

import math

import pytest
import torch

from taskdepth.models.scores import TaskMean, TaskScores


def test_means_by_task_weighted_and_undefined() -> None:
    metric = TaskMean(3)
    metric.update(
        torch.tensor([0, 0, 2]), torch.tensor([6.0, 2.0, 5.0]), torch.tensor([3.0, 1.0, 5.0])
    )
    first, missing, last = metric.means().tolist()
    assert (first, last) == (2.0, 1.0)
    assert math.isnan(missing)
    assert float(metric.overall()) == 1.5
    metric.reset()
    metric.update(torch.tensor([], dtype=torch.int64), torch.tensor([]))
    assert math.isnan(float(metric.overall()))


def scores() -> TaskScores:
    found = TaskScores(3, ("loss", "accuracy"))
    found["loss"].update(torch.tensor([0, 1]), torch.tensor([6.0, 10.0]), torch.tensor([2.0, 1.0]))
    found["accuracy"].update(torch.tensor([1]), torch.tensor([1.0]))
    return found


def test_scores_by_task_leave_out_what_a_task_has_not() -> None:
    expected = {"a": {"loss": 3.0}, "b": {"loss": 10.0, "accuracy": 1.0}, "c": {}}
    assert scores().by_task(["a", "b", "c"]) == expected


def test_a_group_is_the_mean_over_its_rows_and_not_over_its_tasks() -> None:
    grouped = scores().by_group({"a": "x", "b": "x", "c": "y"})
    assert grouped == {"x": {"loss": pytest.approx(16 / 3), "accuracy": 1.0}, "y": {}}


def test_one_task_and_reset() -> None:
    found = TaskScores(1, ("loss",))
    found["loss"].update(torch.tensor([0]), torch.tensor([3.0]))
    assert found.by_task(["a"]) == {"a": {"loss": 3.0}}
    found.reset()
    assert found.by_task(["a"]) == {"a": {}}
