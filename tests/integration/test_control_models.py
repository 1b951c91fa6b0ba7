"""`experiment=control_models` as a user runs it: at once and alone, killed, failing, read again by PEFT."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from taskdepth import config
from taskdepth.errors import DataError
from taskdepth.pipelines import train

N_ROWS = {"few": 6, "more": 14, "most": 22}
ADAPTER = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("controls")
    (folder / "tasks").mkdir()
    lines = ["task\tcluster\tkind\tlabels"]
    for task, n in N_ROWS.items():
        lines.append(f"{task}\tc\tclassification\tno|yes")
        rows = [
            {
                "example_id": f"{task}-{i}",
                "split": "train" if i < n else "validation",
                "prompt": f"{task}: the dog {'runs' if i % 2 else 'sleeps'} {i}",
                "targets": [("no", "yes")[i % 2]],
                "label": ("no", "yes")[i % 2],
            }
            for i in range(n + 3)
        ]
        text = "\n".join(json.dumps(row) for row in rows) + "\n"
        (folder / "tasks" / f"{task}.jsonl").write_text(text)
    (folder / "tasks" / "tasks.tsv").write_text("\n".join(lines) + "\n")
    return folder


def tune(place: Path, name: str, model: Path, *overrides: str) -> train.TrainResult:
    common = [f"paths.root='{place}'", "data=folder", f"data.path='{place}/tasks'"]
    common += ["experiment=control_models", f"name={name}", f"model.path='{model}'"]
    common += ["trainer.max_epochs=2", "trainer.batch_size_examples=4", "logger=none"]
    common += ["trainer.accelerator=cpu", "optimizer.lr=0.01", "adapter.blocks=[2,3]"]
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        return train.run(config.resolve(compose("train", [*common, *overrides])))


def weights(place: Path, name: str, task: str) -> dict[str, torch.Tensor]:
    return load_file(place / "outputs/train" / name / "controls" / task / "adapter" / ADAPTER)


@pytest.fixture(scope="module")
def alone(place: Path, tiny_folder: Path) -> train.TrainResult:
    return tune(place, "alone", tiny_folder)


@pytest.fixture(scope="module")
def shared(place: Path, tiny_folder: Path) -> train.TrainResult:
    return tune(place, "shared", tiny_folder, "control.at_once=2")


def test_at_once_leaves_what_one_after_the_other_leaves(
    place: Path, alone: train.TrainResult, shared: train.TrainResult
) -> None:
    for task, expected in alone.metrics["controls"].items():
        found = shared.metrics["controls"][task]
        assert found.keys() == expected.keys()
        for same in ("task", "cluster", "adapter", "steps", "trainable_parameters"):
            assert found[same] == expected[same]
        assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-5)
        assert found["validation"] == pytest.approx(expected["validation"], rel=1e-4)
        assert expected["steps"] == 2 * -(-N_ROWS[task] // 4)
        assert_same_adapter(place, "shared", "alone", task)


def assert_same_adapter(place: Path, name: str, other: str, task: str) -> None:
    ours, theirs = weights(place, name, task), weights(place, other, task)
    assert ours.keys() == theirs.keys()
    for key, weight in theirs.items():
        torch.testing.assert_close(ours[key], weight, rtol=1e-3, atol=1e-4)


def test_peft_reads_them(place: Path, tiny_folder: Path, shared: train.TrainResult) -> None:
    ids = torch.tensor([[3, 4, 5, 6]])
    for task in N_ROWS:
        lm = AutoModelForCausalLM.from_pretrained(tiny_folder)
        adapter = shared.run_dir / "controls" / task / "adapter"
        wrapped = PeftModel.from_pretrained(lm, str(adapter))
        with torch.no_grad(), wrapped.disable_adapter():
            before = wrapped(ids).logits
        with torch.no_grad():
            assert not torch.allclose(wrapped(ids).logits, before)
        blocks = {name.split("layers.")[1][0] for name in weights(place, "shared", task)}
        assert blocks == {"2", "3"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_killed_run_goes_on_and_ends_the_same(
    place: Path, tiny_folder: Path, shared: train.TrainResult, is_damaged: bool
) -> None:
    name = f"killed{is_damaged:d}"
    arguments = (place, name, tiny_folder, "control.at_once=2")
    process = multiprocessing.get_context("fork").Process(target=tune, args=arguments)
    process.start()
    folder = place / "outputs/train" / name
    first = folder / "controls" / "few" / "metrics.json"
    wait_until(first.is_file)
    process.kill()
    process.join()
    assert process.exitcode == -9
    assert not (folder / "controls.json").exists()
    if is_damaged:
        for checkpoint in (folder / "checkpoints").glob("*.ckpt"):
            checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    found = tune(*arguments).metrics["controls"]
    for task, expected in shared.metrics["controls"].items():
        assert found[task] | {"seconds": 0} == expected | {"seconds": 0}
        ours, theirs = weights(place, name, task), weights(place, "shared", task)
        for key, weight in theirs.items():
            assert torch.equal(ours[key], weight), (task, key)


def wait_until(seen: Any, limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not seen():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.002)


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_failing_task_is_listed_and_the_rest_is_there(
    place: Path, tiny_folder: Path, at_once: int
) -> None:
    broken = place / "tasks" / "more.jsonl"
    whole = broken.read_text()
    name, asked = f"failing{at_once}", f"control.at_once={at_once}"
    lines = whole.splitlines()
    try:
        # the first row can be read, and another one is no row
        broken.write_text("\n".join([lines[0], "{no row}", *lines[1:]]))
        with pytest.raises(DataError, match=r"1 of 3 control models failed.*more"):
            tune(place, name, tiny_folder, asked)
    finally:
        broken.write_text(whole)
    folder = place / "outputs/train" / name
    failed = json.loads((folder / "controls" / "failed.json").read_text())
    assert list(failed) == ["more"]
    assert "more.jsonl" in failed["more"]
    assert not (folder / "controls.json").exists()
    done = {path.parent.name for path in folder.glob("controls/*/metrics.json")}
    assert done == {"few", "most"}
    if at_once == 1:
        return
    assert set(tune(place, name, tiny_folder, asked).metrics["controls"]) == set(N_ROWS)
    assert not (folder / "controls" / "failed.json").exists()


def test_as_many_rows_as_the_mixture_in_turn_where_a_step_cannot_be_shared(
    place: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["adapter=dora", "control.at_once=2", "control.match=size", "trainer.max_epochs=1"]
    run = tune(place, "dora", tiny_folder, *asked)
    steps = {task: one["steps"] for task, one in run.metrics["controls"].items()}
    assert steps == dict.fromkeys(N_ROWS, -(-sum(N_ROWS.values()) // 4))
    said = " ".join(capsys.readouterr().err.split())
    assert "one after the other, not 2 at once: only plain LoRA" in said
