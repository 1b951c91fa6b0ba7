"""A cluster asks for its machine back: the command ends within seconds, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from taskdepth import config, stopping
from taskdepth.pipelines import train

LIMIT_S = 10
START = "from taskdepth import cli; cli.train()"


def write_task(folder: Path) -> None:
    folder.mkdir()
    (folder / "tasks.tsv").write_text("task\tcluster\tkind\tlabels\nt\tc\tclassification\tno|yes\n")
    rows = [
        {
            "example_id": f"t-{i}",
            "split": "train" if i < 20 else "validation",
            "prompt": f"the dog {'runs' if i % 2 else 'sleeps'} {i}",
            "targets": [("no", "yes")[i % 2]],
            "label": ("no", "yes")[i % 2],
        }
        for i in range(24)
    ]
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.slow  # make faults-ci sends SIGTERM, too
def test_tuning_ends_when_asked_and_goes_on_to_the_same_end(
    tmp_path: Path, tiny_folder: Path
) -> None:
    """30 epochs of 5 steps: long enough to be met on the way."""
    write_task(tmp_path / "tasks")
    asked = [f"paths.root={tmp_path}", "data=folder", f"data.path={tmp_path}/tasks"]
    asked += [f"model.path={tiny_folder}", "adapter=lora", "adapter.blocks=[3]", "logger=none"]
    asked += ["trainer.max_epochs=30", "trainer.batch_size_examples=4", "trainer.accelerator=cpu"]
    asked += ["adapter.peft.lora_dropout=0.1", "trainer.val_every_n_epochs=14", "output=quiet"]
    asked += ["callbacks.checkpoint.every_n_train_steps=20", "name=cut"]
    last = tmp_path / "outputs/train/cut/checkpoints/last.ckpt"
    command = [sys.executable, "-c", START, *asked]
    alike = os.environ | {"OMP_NUM_THREADS": "1"}  # as here: threads add in another order
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=alike) as process:
        while not last.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        start_s = time.monotonic()
        _, said = process.communicate(timeout=60)
        ended_s = time.monotonic() - start_s
    assert process.returncode == stopping.EXIT_CODE
    assert ended_s < LIMIT_S
    assert said.strip() == stopping.MESSAGE
    assert not (last.parents[1] / "metrics.json").exists()
    assert [path.name for path in last.parents[1].glob(".*")] == [], "neither lock nor half a file"

    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        resumed = train.run(config.resolve(compose("train", asked)))
        whole = train.run(config.resolve(compose("train", [*asked[:-1], "name=whole"])))
    assert resumed.metrics | {"seconds": 0} == whole.metrics | {"seconds": 0}
    for name in ("adapter/adapter_model.safetensors", "task_log.jsonl"):
        assert (resumed.run_dir / name).read_bytes() == (whole.run_dir / name).read_bytes()
