"""Rows of the benches of scaling: what holds, and what falls short on either side."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskdepth.bench import growth, ranks, scaling
from taskdepth.bench.ranks import Times


@pytest.mark.parametrize(
    ("predicted_s", "measured_s", "holds"),
    [(1.0, 1.0, True), (1.0, 1.19, True), (1.0, 1.21, False), (1.19, 1.0, True), (1.3, 1.0, False)],
)
def test_a_prediction_holds_within_a_fifth_either_way(
    predicted_s: float, measured_s: float, holds: bool
) -> None:
    found = scaling._row("extraction", predicted_s, measured_s)
    assert found.holds is holds
    assert f"{measured_s / predicted_s:.2f}" in found.name


def test_efficiency_of_two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {1: Times(work_s=20.0, command_s=30.0), 2: Times(work_s=11.0, command_s=24.0)}
    monkeypatch.setattr(ranks, "_timed", lambda name, place, n: times[n])
    work, command = ranks._of_work("extraction", ranks.GOAL, Path())
    assert (work.ratio, work.holds) == (pytest.approx(20 / 22), True)
    assert (command.ratio, command.goal, command.holds) == (pytest.approx(30 / 48), None, True)
    times[2] = Times(work_s=12.0, command_s=24.0)
    assert not ranks._of_work("extraction", ranks.GOAL, Path())[0].holds


@pytest.mark.parametrize(("longest_s", "holds"), [(8.0, True), (9.5, True), (10.0, False)])
def test_time_grows_in_proportion(
    longest_s: float, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {1: 1.0, 2: 2.0, 4: 4.0, 8: longest_s}
    monkeypatch.setattr(growth, "_seconds", lambda size: seconds[size.n_tasks])
    found = growth._linear("tasks", lambda k: growth.Size(n_tasks=k))
    assert found.holds is holds
