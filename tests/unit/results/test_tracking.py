from __future__ import annotations

import math
from pathlib import Path

import pytest
import wandb

import wandb_log
from taskdepth.config import LoggerConfig
from taskdepth.results import tracking
from taskdepth.results.table import LayerTable, Row


def row(depth: int, value: float, task: str = "rte", **changes: object) -> Row:
    about = {"model": "m", "role": "pretrained", "cluster": "nli" if task != "all" else "all"}
    about |= {"kind": "probe", "name": "accuracy", "target": "label", "n": 9, "seed": 0}
    return Row(task=task, depth=depth, value=value, **(about | changes))  # type: ignore[arg-type]


SIMILARITY = {"kind": "similarity", "name": "debiased_cka", "target": None, "reference": "control"}
TABLE = LayerTable(
    [
        *(row(depth, depth / 10) for depth in range(3)),
        *(row(depth, depth / 5, task="cb") for depth in range(3)),
        *(row(depth, 0.5, task="all", target="task") for depth in range(3)),
        row(2, 0.25, task="all", cluster="nli", target="cluster", name="recall"),
        row(0, math.nan, **SIMILARITY),
        row(1, 0.75, **SIMILARITY),
    ]
)


def test_series_are_medians_tasks_and_clusters_without_the_undefined() -> None:
    series = tracking.layer_series(TABLE)
    assert set(series) == {0, 1, 2}
    assert series[2]["probe/pretrained/label/accuracy/task/rte"] == 0.2
    assert series[2]["probe/pretrained/label/accuracy"] == pytest.approx(0.3)
    assert series[1]["probe/pretrained/task/accuracy"] == 0.5
    assert series[2]["probe/pretrained/cluster/recall/cluster/nli"] == 0.25
    assert series[1]["similarity/pretrained/vs_control/debiased_cka/task/rte"] == 0.75
    assert not any(key.startswith("similarity") for key in series[0])


def test_the_transaction_log_holds_every_value_against_layer(tmp_path: Path) -> None:
    with tracking.tracked(
        LoggerConfig(), tmp_path, job_type="probe", name="x", config={"a": 1}
    ) as run:
        tracking.log_layers(run, TABLE)
    logged = {h["layer"]: h for h in wandb_log.history(tmp_path) if "layer" in h}
    for layer, values in tracking.layer_series(TABLE).items():
        assert {key: logged[layer][key] for key in values} == values
    assert wandb_log.step_metrics(tmp_path)["probe/*"] == "layer"
    assert wandb_log.step_metrics(tmp_path)["similarity/*"] == "layer"


def test_a_run_is_finished_after_an_error_and_the_next_is_another(tmp_path: Path) -> None:
    ids: list[str] = []

    def failing(folder: Path) -> None:
        folder.mkdir()
        with tracking.tracked(LoggerConfig(), folder, job_type="j", name="n", config={}) as run:
            ids.append(run.id)
            raise RuntimeError("stop")

    for name in ("first", "second"):
        with pytest.raises(RuntimeError, match="stop"):
            failing(tmp_path / name)
        assert wandb.run is None
    assert len(set(ids)) == 2


def test_artifacts_hold_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "weights").write_text("1")
    (tmp_path / "table").write_text("2")
    with tracking.tracked(LoggerConfig(), tmp_path, job_type="j", name="n", config={}) as run:
        files = [tmp_path / "adapter", tmp_path / "table", tmp_path / "absent"]
        tracking.log_artifact(run, "findings", "findings", files, {})
    assert wandb_log.artifacts(tmp_path)["findings"] == {"adapter/weights", "table"}


def test_disabled_means_nothing_is_written(tmp_path: Path) -> None:
    for settings in (LoggerConfig(enabled=False), LoggerConfig(mode="disabled")):
        with tracking.tracked(settings, tmp_path, job_type="j", name="n", config={}) as run:
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
