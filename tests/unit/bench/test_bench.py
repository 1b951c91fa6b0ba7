from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from taskdepth.bench import __main__ as command
from taskdepth.bench import model, row, training
from taskdepth.bench.row import BenchRow
from taskdepth.errors import ModelError
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example, Split


@pytest.mark.parametrize(
    ("ratio", "goal", "agrees", "expected"),
    [
        (4.0, 4.0, True, True),
        (3.99, 4.0, True, False),
        (9.0, 4.0, False, False),  # fast, but something else
        (9.0, 4.0, None, True),  # nothing to compare
        (0.1, None, None, True),  # only told
        (0.1, None, False, False),
    ],
)
def test_a_goal_holds_with_the_same_result_only(
    ratio: float, goal: float | None, agrees: bool | None, expected: bool
) -> None:
    assert BenchRow("a", "b", ratio, goal, agrees=agrees).holds is expected


ROWS = [
    BenchRow("tuning", "them", 4.5, 4.0, 2.0, 9.0, 0.00123, True),
    BenchRow("share", "a limit", 0.5),
    BenchRow("start", "2.5 s", 0.83, 1.0, 3.0),
]


def test_the_printed_table() -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(command._table(ROWS))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    cells = [
        [c.strip() for c in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line
    ]
    assert cells == [
        ["tuning", "them", "2.00 s", "9.00 s", "4.50", "4", "0.0012", "holds"],
        ["share", "a limit", "", "", "0.50", "", "", "holds"],
        ["start", "2.5 s", "3.00 s", "", "0.83", "1", "", "falls short"],
    ]


def asked(monkeypatch: pytest.MonkeyPatch, rows: list[BenchRow], *arguments: str) -> int:
    """The exit code of the command when the benchmark finds `rows`."""

    def run(*settings: Any) -> list[BenchRow]:
        assert settings == (None, None, 3, 2)
        return rows

    monkeypatch.setattr(training, "run", run)
    every = ["bench", "training", "--steps", "3", "--batch", "2", *arguments]
    monkeypatch.setattr(sys, "argv", every)
    with pytest.raises(SystemExit) as stopped:
        command.main()
    return int(stopped.value.code or 0)


def test_json_holds_the_device_and_every_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(monkeypatch, ROWS, "--json") == 2
    found = json.loads(capsys.readouterr().out)
    assert found["device"] == row.device()
    fields = {"name", "against", "ours_s", "theirs_s", "ratio", "goal", "agreement", "agrees"}
    assert all(set(of_row) == fields for of_row in found["rows"])
    assert [BenchRow(**of_row) for of_row in found["rows"]] == ROWS


def test_the_exit_code_says_whether_all_goals_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(monkeypatch, ROWS[:2]) == 0
    assert asked(monkeypatch, ROWS) == 2
    assert "falls short" in capsys.readouterr().out


def test_what_stops_a_benchmark_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: Any) -> list[BenchRow]:
        raise ModelError("no TRL here")

    monkeypatch.setattr(training, "run", run)
    monkeypatch.setattr(sys, "argv", ["bench", "training"])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 1
    assert capsys.readouterr().err == "error: no TRL here\n"


def test_help_without_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('torch was imported')")
    source = Path(training.__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-m", "taskdepth.bench", "training", "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{source}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert all(f"--{name}" in found.stdout for name in ("json", "model", "data", "steps", "batch"))


class Uneven:
    """Three tasks of 1, 4 and 2 rows."""

    def specs(self) -> dict[str, TaskSpec]:
        return {name: TaskSpec(name, "c", Kind.GENERATION) for name in "abc"}

    def examples(self, task: str, split: Split) -> list[Example]:
        assert split is Split.TRAIN
        return [
            Example(f"{task}{i}", task, "p", ("y",)) for i in range({"a": 1, "b": 4}.get(task, 2))
        ]


def test_rows_of_all_tasks_in_turn() -> None:
    found = [example.example_id for example in model.in_turn(Uneven(), Split.TRAIN)]
    assert found == ["a0", "b0", "c0", "b1", "c1", "b2", "b3"]


def test_a_mixture_of_the_demo_has_every_task() -> None:
    from taskdepth.tasks.demo import DemoSource

    source = DemoSource()
    first = islice(model.in_turn(source, Split.TRAIN), 2 * len(source.specs()))
    assert Counter(example.task for example in first) == dict.fromkeys(source.specs(), 2)


def side(seconds: float, losses: list[float]) -> dict[str, Any]:
    return {"seconds": seconds, "losses": losses, "n_tokens": 1000}


def test_two_sides_are_compared_by_time_and_by_their_losses() -> None:
    found = training._compared("n", "a", side(2.0, [1.0, 2.0]), side(8.0, [1.005, 2.0]), 4.0)
    assert (found.ratio, found.ours_s, found.theirs_s, found.goal) == (4.0, 2.0, 8.0, 4.0)
    assert found.agreement == pytest.approx(0.005 / 1.005)
    assert found.agrees
    assert found.holds
    assert "500 : 125 tokens/s" in found.name
    apart = training._compared("n", "a", side(2.0, [1.0, 2.1]), side(8.0, [1.0, 2.0]), 4.0)
    assert not apart.agrees
    assert not apart.holds
