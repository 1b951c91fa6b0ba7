from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from taskdepth.data.mixture import Mixture, deal
from taskdepth.errors import DataError
from taskdepth.tasks.spec import Kind, TaskSpec

SPECS = [TaskSpec("a", "x", Kind.GENERATION), TaskSpec("b", "x", Kind.GENERATION)]
SPECS += [TaskSpec("c", "y", Kind.GENERATION)]
SIZES = {"a": 10, "b": 30, "c": 5}


@pytest.mark.parametrize(
    ("per_task", "per_cluster", "expected"),
    [
        (None, None, {"a": 10, "b": 30, "c": 5}),
        (8, None, {"a": 8, "b": 8, "c": 5}),
        (None, 20, {"a": 5, "b": 15, "c": 5}),
        (8, 8, {"a": 4, "b": 4, "c": 5}),
        (100, 100, {"a": 10, "b": 30, "c": 5}),
        (None, 1, {"a": 0, "b": 1, "c": 1}),
    ],
)
def test_caps(per_task: int | None, per_cluster: int | None, expected: dict[str, int]) -> None:
    mixture = Mixture(cap_per_task_examples=per_task, cap_per_cluster_examples=per_cluster)
    drawn = mixture.draw(SIZES, SPECS, seed=0)
    assert {task: len(numbers) for task, numbers in drawn.items()} == expected
    for task, numbers in drawn.items():
        assert numbers == sorted(set(numbers)), "ascending, none twice"
        assert set(numbers) <= set(range(SIZES[task]))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"rates": "uniform"}, {"a": 15, "b": 15, "c": 15}),
        ({"rates": "temperature", "temperature": 1.0}, {"a": 10, "b": 30, "c": 5}),
        # 10^.5 : 30^.5 : 5^.5 of 45
        ({"rates": "temperature", "temperature": 2.0}, {"a": 13, "b": 23, "c": 9}),
        ({"rates": "temperature", "temperature": 1e6}, {"a": 15, "b": 15, "c": 15}),
        (
            {"rates": "weights", "weights": {"a": 1, "b": 0, "c": 2}, "epoch_examples": 30},
            {"a": 10, "b": 0, "c": 20},
        ),
        ({"epoch_examples": 90}, {"a": 20, "b": 60, "c": 10}),
        ({"rates": "uniform", "cap_per_cluster_examples": 8}, {"a": 5, "b": 4, "c": 4}),
    ],
)
def test_rates(settings: dict[str, Any], expected: dict[str, int]) -> None:
    drawn = Mixture(**settings).draw(SIZES, SPECS, seed=0)
    assert {task: len(numbers) for task, numbers in drawn.items()} == expected
    for numbers in drawn.values():
        times = Counter(numbers).values()
        assert not times or max(times) - min(times) <= 1, "rows repeat evenly"


def test_what_is_drawn_depends_on_the_seed_alone() -> None:
    sizes = dict.fromkeys("abc", 50)
    mixture = Mixture(cap_per_task_examples=5)
    first, again, other = (mixture.draw(sizes, SPECS, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    fewer = mixture.draw(sizes, SPECS[:1], 0)
    assert fewer["a"] == first["a"], "another task beside it changes nothing"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 1, "b": 1, "d": 1}, r"mixture\.weights: d: "),
        ({"a": 1, "b": 1}, "no weight for c"),
        ({"a": 0, "b": 0, "c": 0}, "nothing to train on"),
    ],
)
def test_weights_must_fit_the_tasks(weights: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Mixture(rates="weights", weights=weights).draw(SIZES, SPECS, seed=0)


@pytest.mark.parametrize("total", [0, 1, 7, 100])
def test_dealing_gives_out_everything_within_one(total: int) -> None:
    weights = [3.0, 0.0, 1.5, 2.2]
    dealt = deal(total, weights)
    assert sum(dealt) == total
    assert all(abs(n - total * w / sum(weights)) < 1 for n, w in zip(dealt, weights, strict=True))
    assert dealt[1] == 0
