"""`devices=2` as a user runs it: what comes out is what one process leaves, whoever dies on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from taskdepth import config

pytestmark = pytest.mark.slow

TASKS = {"few": 6, "more": 14, "most": 22}
TUNE = ["adapter=lora", "trainer.max_epochs=2", "optimizer.lr=0.01"]
TUNE += [
    "trainer.batch_size_examples=4",
    "logger=none",
    "callbacks.checkpoint.every_n_train_steps=2",
]
CONTROLS = ["experiment=control_models", "trainer.max_epochs=3", "optimizer.lr=0.01", "logger=none"]
CONTROLS += ["trainer.batch_size_examples=4"]
PROBE = [
    "logger=none",
    "similarity.n_bootstrap=5",
    "probe.l2s=[1.0,100.0]",
    "probe.targets=[task,label]",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("devices")
    (folder / "tasks").mkdir()
    lines = ["task\tcluster\tkind\tlabels"]
    for task, n in TASKS.items():
        lines.append(f"{task}\tc\tclassification\tno|yes")
        rows = [
            {
                "example_id": f"{task}-{i}",
                "split": ("train", "validation", "test")[max(0, i - n + 1) % 3 if i >= n else 0],
                "prompt": f"{task}: the dog {'runs' if i % 2 else 'sleeps'} {i}",
                "targets": [("no", "yes")[i % 2]],
                "label": ("no", "yes")[i % 2],
            }
            for i in range(n + 12)
        ]
        text = "\n".join(json.dumps(row) for row in rows) + "\n"
        (folder / "tasks" / f"{task}.jsonl").write_text(text)
    (folder / "tasks" / "tasks.tsv").write_text("\n".join(lines) + "\n")
    (folder / "model").symlink_to(tiny_folder)
    return folder


def command(place: Path, script: str, *words: str) -> list[str]:
    common = [f"paths.root={place}", "data=folder", f"data.path={place}/tasks"]
    if script == "train.py":
        common += ["trainer.accelerator=cpu", f"model.path={place}/model"]
    else:
        common += ["extraction.accelerator=cpu"]
    return [sys.executable, str(config.root_dir() / script), *common, *words]


def environment(**more: str) -> dict[str, str]:
    source = str(config.root_dir() / "src")
    return os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"} | more


def call(place: Path, script: str, *words: str) -> str:
    done = subprocess.run(
        command(place, script, *words),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def adapter(place: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(place / "outputs/train" / name / "adapter" / "adapter_model.safetensors")


def metrics(place: Path, name: str) -> dict[str, float]:
    found: dict[str, float] = json.loads(
        (place / "outputs/train" / name / "metrics.json").read_text()
    )
    return found


def controls(place: Path, name: str) -> dict[str, bytes]:
    folder = place / "outputs/train" / name / "controls"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for task in TASKS
        for path in sorted((folder / task / "adapter").iterdir())
    }


@pytest.fixture(scope="module")
def alone(place: Path) -> None:
    call(place, "train.py", *TUNE, "name=alone")
    call(place, "train.py", *CONTROLS, "name=controls")


def assert_same_tuning(place: Path, name: str) -> None:
    expected = adapter(place, "alone")
    for key, found in adapter(place, name).items():
        # Adam makes much of rounding where a gradient is nearly none; one step changes weights by 0.01
        torch.testing.assert_close(found, expected[key], rtol=0, atol=1e-3)
    for score in ("train_loss", "validation_loss"):
        assert metrics(place, name)[score] == pytest.approx(
            metrics(place, "alone")[score], rel=1e-4
        )


def test_tuning(place: Path, alone: None) -> None:
    said = call(place, "train.py", *TUNE, "devices=2", "name=two")
    assert_same_tuning(place, "two")
    assert said.count("done in") == 1, "one of them speaks"


def test_tuning_is_stopped_and_goes_on_with_another_number_of_processes(
    place: Path, alone: None
) -> None:
    words = [*TUNE, "name=stopped"]
    running = subprocess.Popen(
        command(place, "train.py", *words, "devices=2"),
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    checkpoint = place / "outputs/train/stopped/checkpoints/last.ckpt"
    deadline_s = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline_s and running.poll() is None:
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    said = running.communicate(timeout=60)[1]
    assert running.returncode == 128 + signal.SIGTERM, said
    assert said.count("stopped by SIGTERM") == 1
    assert not (place / "outputs/train/stopped/metrics.json").exists()
    assert "going on from" in call(place, "train.py", *words)
    assert_same_tuning(place, "stopped")


def test_a_mistake_is_told_once(place: Path) -> None:
    done = subprocess.run(
        command(place, "train.py", *TUNE, "devices=2", "name=wrong", "tasks=[nothing]"),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if "unknown task" in line]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr


def test_control_models(place: Path, alone: None) -> None:
    call(place, "train.py", *CONTROLS, "devices=2", "name=controls2")
    assert controls(place, "controls2") == controls(place, "controls")


def test_the_tasks_of_a_dead_process_are_taken_over(place: Path, alone: None) -> None:
    port = "29513"
    started = [
        subprocess.Popen(
            command(place, "train.py", *CONTROLS, "name=bereft"),
            env=environment(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE="2",
                LOCAL_WORLD_SIZE="2",
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=port,
            ),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    folder = place / "outputs/train/bereft/controls"
    deadline_s = time.monotonic() + 120
    dead = f'"pid": {started[1].pid},'
    while time.monotonic() < deadline_s:
        locks = [path.read_text() for path in folder.glob("*/.lock") if path.exists()]
        if any(dead in text for text in locks):
            break
        time.sleep(0.01)
    started[1].kill()
    said = started[0].communicate(timeout=120)[1]
    started[1].communicate()
    assert started[0].returncode == 0, said
    assert controls(place, "bereft") == controls(place, "controls")


def test_a_study(place: Path, alone: None) -> None:
    models = [
        f"models.pretrained={place}/model",
        f"models.experimental={place}/outputs/train/alone",
    ]
    models += [f"models.controls={place}/outputs/train/controls"]
    for n in ("1", "2"):
        here = [f"paths.activations={place}/states{n}", f"name=study{n}", f"devices={n}"]
        call(place, "probe.py", *models, *PROBE, *here)
    tables, stores = [], []
    for n in ("1", "2"):
        tables.append((place / f"outputs/probe/study{n}/layers.parquet").read_bytes())
        states = place / f"states{n}"
        stores.append(
            {
                str(path.relative_to(states)): path.read_bytes()
                for path in sorted(states.rglob("*"))
                if path.is_file()
            }
        )
    assert tables[0] == tables[1]
    assert stores[0] == stores[1]
