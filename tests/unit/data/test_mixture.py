from __future__ import annotations

import pytest

from taskdepth.data.mixture import Mixture
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example

SPECS = [TaskSpec("a", "x", Kind.GENERATION), TaskSpec("b", "x", Kind.GENERATION)]
SPECS += [TaskSpec("c", "y", Kind.GENERATION)]


def rows(sizes: dict[str, int]) -> dict[str, list[Example]]:
    return {t: [Example(f"{t}-{i}", t, "p", ("y",)) for i in range(n)] for t, n in sizes.items()}


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
    drawn = Mixture(per_task, per_cluster).draw(rows({"a": 10, "b": 30, "c": 5}), SPECS, seed=0)
    assert {t: sum(e.task == t for e in drawn) for t in expected} == expected
    assert len({e.example_id for e in drawn}) == len(drawn)


def test_what_a_cap_keeps_depends_on_the_seed_alone() -> None:
    pool = rows({"a": 50, "b": 50, "c": 50})
    first, again, other = (Mixture(5).draw(pool, SPECS, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    fewer = Mixture(5).draw(pool, SPECS[:1], 0)
    assert fewer == first[:5], "another task beside it changes nothing"
