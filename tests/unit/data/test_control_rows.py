from __future__ import annotations

import pytest

from taskdepth.data.control_rows import ControlRows
from taskdepth.data.mixture import Mixture
from taskdepth.errors import DataError
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example, Split

N_ROWS = {"a": 3, "b": 10, "c": 5}
SPECS = [
    TaskSpec("a", "x", Kind.GENERATION),
    TaskSpec("b", "x", Kind.GENERATION),
    TaskSpec("c", "y", Kind.GENERATION),
]


class Rows:
    def specs(self) -> dict[str, TaskSpec]:
        return {spec.name: spec for spec in SPECS}

    def examples(self, task: str, split: Split) -> list[Example]:
        if N_ROWS[task] == 0:
            raise DataError(f"{task} cannot be read")
        return [Example(f"{task}-{i}", task, "p", ("y",)) for i in range(N_ROWS[task])]

    def plain_text(self, split: Split) -> list[str]:
        return []

    def skipped(self) -> dict[str, list[str]]:
        return {}


def drawn(mixture: Mixture, match: str, task: str, seed: int = 0) -> list[int]:
    (spec,) = [spec for spec in SPECS if spec.name == task]
    rows = ControlRows(mixture, Rows(), SPECS, match)
    return rows.draw({task: N_ROWS[task]}, [spec], seed)[task]


@pytest.mark.parametrize(
    ("mixture", "match", "expected"),
    [
        (Mixture(), "data", {"a": 3, "b": 10, "c": 5}),
        (Mixture(), "size", {"a": 18, "b": 18, "c": 18}),
        (Mixture(rates="uniform", epoch_examples=6), "data", {"a": 2, "b": 2, "c": 2}),
        (Mixture(rates="uniform", epoch_examples=6), "size", {"a": 6, "b": 6, "c": 6}),
        (Mixture(cap_per_task_examples=4), "data", {"a": 3, "b": 4, "c": 4}),
        # of a cluster's cap a task has its part, and not the whole
        (Mixture(cap_per_cluster_examples=6), "data", {"a": 1, "b": 5, "c": 5}),
    ],
)
def test_how_many_rows(mixture: Mixture, match: str, expected: dict[str, int]) -> None:
    assert {task: len(drawn(mixture, match, task)) for task in N_ROWS} == expected


def test_the_share_is_what_the_mixture_has() -> None:
    mixture = Mixture(rates="temperature", temperature=3.0, epoch_examples=9)
    whole = mixture.draw(N_ROWS, SPECS, 7)
    assert {task: drawn(mixture, "data", task, 7) for task in N_ROWS} == whole


def test_rows_of_a_small_task_repeat_alike_and_stay_within_the_caps() -> None:
    found = drawn(Mixture(cap_per_task_examples=4), "size", "b")
    assert len(found) == 3 + 4 + 4
    assert found == sorted(found)
    times = sorted(found.count(row) for row in set(found))
    assert times == [2, 3, 3, 3]


def test_a_task_that_cannot_be_read_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(N_ROWS, "b", 0)
    assert drawn(Mixture(), "data", "a") == [0, 1, 2]
    assert drawn(Mixture(), "data", "b") == []
    assert drawn(Mixture(), "size", "b") == []
