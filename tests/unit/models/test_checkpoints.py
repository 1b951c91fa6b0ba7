from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import small_fit
from taskdepth.models.checkpoints import LAST, StepCheckpoint, WholeCheckpoints, damage, newest
from taskdepth.models.task_log import TaskLog
from tiny import tiny_llama


def fitted(
    folder: Path, *, ckpt_path: Path | None = None, **options: Any
) -> tuple[dict[str, torch.Tensor], str]:
    """The weights and the task log after two epochs of 12 batches, with a checkpoint after every step."""
    model = tiny_llama(n_blocks=1)
    model.lm.model.layers[0].self_attn.attention_dropout = 0.3
    saver = StepCheckpoint(
        folder / "checkpoints",
        "{step}",
        save_top_k=-1,
        every_n_train_steps=1,
        save_last=True,
        enable_version_counter=False,
        auto_insert_metric_name=False,
    )
    log = TaskLog(folder / "log.jsonl", small_fit.CLUSTERS)
    options = {"max_steps": -1, "max_epochs": 2} | options
    options |= {"limit_val_batches": None, "plugins": [WholeCheckpoints()]}
    options |= {"enable_checkpointing": True, "log_every_n_steps": 5}
    torch.manual_seed(5)
    n_steps = -(-12 // options.get("accumulated", 1)) * 2
    _, trainer = small_fit.run(model, [saver, log], n_steps=n_steps, ckpt_path=ckpt_path, **options)
    assert trainer.global_step == (options["max_steps"] if options["max_steps"] > 0 else n_steps)
    return model.lm.state_dict(), (folder / "log.jsonl").read_text()


def gone_on(start: Path, folder: Path, step: int, **options: Any) -> tuple[Any, str]:
    """What comes of a run in `folder` that stopped after the checkpoint of `step` of the one in `start`."""
    (folder / "checkpoints").mkdir(parents=True)
    checkpoint = folder / "checkpoints" / f"{step}.ckpt"
    shutil.copy(start / "checkpoints" / checkpoint.name, checkpoint)
    shutil.copy(start / "log.jsonl", folder)
    return fitted(folder, ckpt_path=checkpoint, **options)


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
@pytest.mark.parametrize(
    ("options", "chain"),
    [
        ({}, (11, 12, 14, 24)),
        ({"accumulated": 5}, (2, 3, 4, 6)),
        ({"max_epochs": -1, "max_steps": 17}, (12, 13)),
    ],
    ids=["epochs", "accumulated", "steps"],
)
def test_every_checkpoint_leads_to_the_same_end(
    tmp_path: Path, options: dict[str, Any], chain: tuple[int, ...]
) -> None:
    """Each time from a checkpoint of the run before, which had itself gone on from one."""
    start = tmp_path / "whole"
    expected, log = fitted(start, **options)
    for step in chain:
        found, found_log = gone_on(start, tmp_path / f"from-{step}", step, **options)
        start = tmp_path / f"from-{step}"
        assert found_log == log, step
        for name, weights in expected.items():
            assert torch.equal(found[name], weights), (step, name)


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(tmp_path: Path) -> None:
    assert newest(tmp_path) == (None, [])
    for name in ("step-2.ckpt", LAST):
        WholeCheckpoints().save_checkpoint({"weights": torch.arange(1000)}, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == [LAST, "step-2.ckpt"]
    assert newest(tmp_path) == (tmp_path / LAST, [])
    content = bytearray((tmp_path / LAST).read_bytes())
    for place in range(0, len(content), 97):  # also where no entry of the archive is
        content[place] ^= 1
        (tmp_path / LAST).write_bytes(content)
        assert damage(tmp_path / LAST) is not None
        content[place] ^= 1
    (tmp_path / LAST).write_bytes(content)
    assert torch.load(tmp_path / LAST, weights_only=True)["weights"][-1] == 999
    assert damage(tmp_path / LAST) is None
    content[len(content) // 2] ^= 1
    (tmp_path / LAST).write_bytes(content)
    found, problems = newest(tmp_path)
    assert found == tmp_path / "step-2.ckpt"
    assert problems == [damage(tmp_path / LAST)]
    (tmp_path / "step-2.ckpt").write_bytes(content[:100])
    assert newest(tmp_path)[0] is None
