from typing import Any

import pytest

from taskdepth.pipelines.train import objective
from taskdepth.pipelines.training_summary import _scores

ONE = {"loss": 1.0, "exact_match": 0.5, "evaluation": {"accuracy": 0.25, "n": 4}}
OTHER = {"loss": 3.0}


def of_one_model(**more: Any) -> dict[str, Any]:
    return {"steps": 7, "train_loss": 1.25, "tasks": {"a": ONE, "b": OTHER}, **more}


@pytest.mark.parametrize(
    ("metrics", "lines"),
    [
        (
            of_one_model(),
            {
                "trained": "7 steps, training loss 1.250",
                "validation": "loss 2.000, exact match 50.0% of 1 (means of 2 tasks)",
                "evaluation": "accuracy 25.0% (means of 1 tasks)",
            },
        ),
        (of_one_model(train_loss=None, tasks={}), {"trained": "7 steps"}),
        (
            {"controls": {"a": {"validation": OTHER}, "b": {"validation": {}}}},
            {"trained": "2 control models", "validation": "loss 3.000 of 1 (means of 2 tasks)"},
        ),
        ({"placement": {"verdict": "region wins"}}, {"verdict": "region wins"}),
    ],
)
def test_what_came_out_in_a_line_or_two(metrics: dict[str, Any], lines: dict[str, str]) -> None:
    assert _scores(metrics) == lines


@pytest.mark.parametrize(
    ("metrics", "value"),
    [
        ({"validation_loss": 2.5}, 2.5),
        ({"placement": {}}, None),
        ({"controls": {"a": {"validation": ONE}, "b": {"validation": OTHER}}}, 2.0),
        ({"controls": {"a": {"validation": {}}}}, None),
    ],
)
def test_a_sweep_minimises_the_mean_validation_loss(
    metrics: dict[str, Any], value: float | None
) -> None:
    assert objective(metrics) == value
