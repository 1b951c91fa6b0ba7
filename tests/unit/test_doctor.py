from __future__ import annotations

import json
import sys
import urllib.error
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from rich.console import Console

from taskdepth import doctor
from taskdepth.doctor import Check, State


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TASKDEPTH_ROOT", str(tmp_path))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["taskdepth.doctor", *arguments])
    with pytest.raises(SystemExit) as stopped:
        doctor.main()
    assert type(stopped.value.code) is int
    return stopped.value.code


def test_a_sound_machine_is_ready(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--json") == 0
    found = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert found["torch"]["state"] == "ok"
    assert found["model hub"]["advice"] == "HF_HUB_OFFLINE is set"
    assert found["W&B"]["found"] == "offline (WANDB_MODE)"
    assert "cores" in found["CPU"]["found"]
    assert {"memory", "outputs", "wandb-workspaces"} <= found.keys()


@pytest.mark.parametrize(
    ("line", "state", "found"),
    [
        ("pytest>=1", State.OK, pytest.__version__),
        ("pytest>=99", State.MISSING, f"{pytest.__version__}, which is not >=99"),
        ("no-such-package-of-ours", State.MISSING, "not installed"),
    ],
)
def test_a_package_is_there_or_not(line: str, state: State, found: str) -> None:
    check = doctor._package(Requirement(line), State.MISSING, "advice")
    assert (check.state, check.found) == (state, found)
    assert check.advice == ("" if state is State.OK else "advice")


@pytest.mark.parametrize(
    ("outcome", "state", "found"),
    [
        (None, State.OK, "answers"),
        (urllib.error.HTTPError("u", 404, "no", {}, None), State.OK, "answers"),  # type: ignore[arg-type]
        (urllib.error.URLError(TimeoutError()), State.NOTE, "timed out"),
        (urllib.error.URLError(OSError("no route")), State.NOTE, "no route"),
    ],
)
def test_a_service_answers_or_not(
    outcome: Exception | None, state: State, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Answer:
        def close(self) -> None: ...

    def urlopen(request: Any, timeout: float) -> Answer:
        assert timeout <= 5
        if outcome is not None:
            raise outcome
        return Answer()

    monkeypatch.setattr(doctor.urllib.request, "urlopen", urlopen)
    check = doctor._service("hub", "https://hub.invalid", "advice")
    assert check.state is state
    assert found in check.found


def test_what_is_missing_is_told_and_the_exit_code_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = Check(
        "packages", "torch", State.MISSING, "not installed", "pip install torch==2.13.0"
    )
    monkeypatch.setattr(doctor, "examine", lambda: [missing])
    assert run(monkeypatch) == 1
    shown = capsys.readouterr().out
    assert "1 missing" in shown
    assert "pip install torch==2.13.0" in shown


@pytest.mark.parametrize("width", [80, 120])
def test_the_screen_is_wide_enough(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    long = Check("services", "model hub", State.NOTE, "a [b]name[/b] " * 12, "do " * 60)
    doctor.show([long], Console(width=width))
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line.rstrip()) <= width for line in lines)
    assert any("[b]name[/b]" in line for line in lines)


def test_an_address_that_is_none_of_the_web_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    check = doctor._service("hub", (tmp_path / "there").as_uri(), "advice")
    assert (check.state, check.found.endswith("is no web address")) == (State.NOTE, True)
