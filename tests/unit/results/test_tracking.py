"""Runs are read back from what W&B wrote to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import OmegaConf

import wandb_log
from taskdepth import sweep
from taskdepth.config import LoggerConfig
from taskdepth.errors import ResultsError
from taskdepth.results import tracking
from taskdepth.results.tracking import Part


def tracked(folder: Path, **changes: Any) -> Any:
    settings = LoggerConfig(**changes)
    return tracking.tracked(settings, folder, part=Part("probe"), name="mine", config={"a": 1})


def test_a_run_says_what_it_is(tmp_path: Path) -> None:
    about = {"group": "study", "tags": ["first"], "notes": "why", "project": "p"}
    with tracking.tracked(
        LoggerConfig(**about),  # type: ignore[arg-type]
        tmp_path,
        part=Part("probe", "pretrained"),
        name="mine",
        config={"a": {"b": 1}},
        suffixed=True,
    ):
        pass
    run = wandb_log.about(tmp_path, "probe-pretrained")
    assert (run.project, run.run_group, run.notes) == ("p", "study", "why")
    assert (run.display_name, run.job_type) == ("mine/probe-pretrained", "probe")
    assert set(run.tags) == {"first", "probe", "pretrained"}
    expected = {"a": {"b": 1}, "study": "study", "stage": "probe", "role": "pretrained"}
    found = wandb_log.config(tmp_path, "probe-pretrained")
    assert {key: found[key] for key in expected} == expected
    metrics = wandb_log.metrics(tmp_path, "probe-pretrained")
    assert all(metrics[glob].options.hidden for glob in ("tasks/*", "more/*"))


def test_the_parts_of_a_command_are_runs_of_one_study(tmp_path: Path) -> None:
    ids = []
    for stage in ("extract", "probe"):
        with tracking.tracked(
            LoggerConfig(), tmp_path, part=Part(stage), name="s", config={}, suffixed=True
        ) as run:
            ids.append(run.id)
    base = ids[0].removesuffix("-extract")
    assert ids[1] == f"{base}-probe"
    assert {wandb_log.about(tmp_path, part).run_group for part in ("extract", "probe")} == {"s"}


def test_a_command_goes_on_in_its_own_run(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):  # the second as after an interruption
        with tracked(tmp_path) as run:
            ids.append(run.id)
    assert ids[0] == ids[1]
    with (
        pytest.raises(ResultsError, match=r"not to logger\.id=another"),
        tracked(tmp_path, id="another"),
    ):
        pass


def test_an_id_can_be_given(tmp_path: Path) -> None:
    with tracked(tmp_path, id="my-id") as run:
        assert run.id == "my-id"


def test_resuming_is_asked_for_online_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    class Begun:
        offline = False

        def define_metric(self, *_: Any, **__: Any) -> None: ...

        def finish(self, exit_code: int) -> None: ...

    def init(**settings: Any) -> Begun:
        asked.append(settings)
        return Begun()

    monkeypatch.setattr(wandb, "init", init)
    for mode in ("online", "offline"):
        with tracked(tmp_path, mode=mode):
            pass
    assert [settings["resume"] for settings in asked] == ["allow", None]
    assert asked[0]["id"] == asked[1]["id"]


def test_a_job_of_a_sweep_is_grouped_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(sweep.NAME, "sweep-7")
    setup_globals()
    mode = {"hydra": {"mode": RunMode.MULTIRUN, "job": {"num": 3}}}
    monkeypatch.setattr(HydraConfig.instance(), "cfg", OmegaConf.create(mode))
    with tracked(tmp_path):
        pass
    assert wandb_log.about(tmp_path).run_group == "sweep-7"
    found = wandb_log.config(tmp_path)
    assert (found["sweep"], found["sweep_job"]) == ("sweep-7", "3")


def test_a_run_is_finished_after_an_error_and_the_next_is_another(tmp_path: Path) -> None:
    ids: list[str] = []

    def failing(folder: Path) -> None:
        folder.mkdir()
        with tracked(folder) as run:
            ids.append(run.id)
            raise RuntimeError("stop")

    for name in ("first", "second"):
        with pytest.raises(RuntimeError, match="stop"):
            failing(tmp_path / name)
        assert wandb.run is None
        assert wandb_log.records(tmp_path / name)[-1].exit.exit_code == 1
    assert len(set(ids)) == 2


def test_disabled_means_nothing_is_written(tmp_path: Path) -> None:
    for changes in ({"enabled": False}, {"mode": "disabled"}):
        with tracked(tmp_path, **changes) as run:
            assert run is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "k" * 40}, "online"),
        ({"WANDB_MODE": "disabled", "WANDB_API_KEY": "k" * 40}, "disabled"),
        ({"NETRC": "machine api.wandb.ai login user password " + "k" * 40}, "online"),
        ({"NETRC": "machine example.org login user password x"}, "offline"),
    ],
)
def test_auto_is_online_for_a_logged_in_user(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in environment.items():
        if name == "NETRC":
            (tmp_path / ".netrc").write_text(value + "\n")
            (tmp_path / ".netrc").chmod(0o600)
        else:
            monkeypatch.setenv(name, value)
    assert tracking.wandb_mode("auto") == expected
    assert tracking.wandb_mode("offline") == "offline"
