from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from taskdepth import sweep
from taskdepth.sweep import Job


@pytest.fixture(autouse=True)
def _root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TASKDEPTH_ROOT", str(tmp_path))


def shown(name: str) -> str:
    console = Console(file=io.StringIO(), width=100)
    sweep.tell(name, console)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_the_name_is_known_inside_and_forgotten_after() -> None:
    with sweep.named() as name:
        assert os.environ[sweep.NAME] == sweep.current() == name
    assert sweep.NAME not in os.environ


def test_jobs_may_end_in_any_order_and_at_once() -> None:
    jobs = [Job(i, (f"seed={i}", "lr=0.1"), f"/runs/r{i}", float(i)) for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda job: sweep.note("s", job), reversed(jobs)))
    assert sweep.jobs_of("s") == jobs


def test_the_table_shows_what_differs_and_what_came_of_it() -> None:
    sweep.note("s", Job(1, ("lr=0.2", "seed=0"), "/runs/b", 0.5, found=True))
    sweep.note("s", Job(0, ("lr=0.1", "seed=0"), "/runs/a", 0.25))
    sweep.note("s", Job(2, ("lr=[red]", "seed=0"), error="optimizer.lr is wrong"))
    text = shown("s")
    assert "lr" in text
    assert "seed" not in text
    assert text.index("0.2500") < text.index("0.5000")
    for words in ("b (done before)", "optimizer.lr is wrong", "[red]", "3 jobs"):
        assert words in text


@pytest.mark.parametrize("quiet", [True, False])
def test_quiet_sweeps_have_no_table(quiet: bool) -> None:
    sweep.note("s", Job(0, ("lr=0.1",), "/runs/a", 0.25, quiet=quiet))
    assert (shown("s") == "") is quiet
    assert shown("another") == ""
