from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

import small_fit
from conftest import tiny_llama
from taskdepth.models.checkpoints import LAST, WholeCheckpoints, damage, newest


def fitted(folder: Path, ckpt_path: Path | None = None) -> tuple[int, dict[str, torch.Tensor]]:
    """Two epochs of 12 steps with validation after each, and a checkpoint after every step."""
    model = tiny_llama(n_blocks=1)
    model.lm.model.layers[0].self_attn.attention_dropout = 0.3
    saver = ModelCheckpoint(
        folder, "step-{step}", save_top_k=-1, every_n_train_steps=1, save_last=True
    )
    options = {"max_steps": -1, "max_epochs": 2, "enable_checkpointing": True}
    options |= {"limit_val_batches": None, "plugins": [WholeCheckpoints()]}
    torch.manual_seed(5)
    _, trainer = small_fit.run(model, [saver], n_steps=24, ckpt_path=ckpt_path, **options)
    return trainer.global_step, model.lm.state_dict()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("whole")
    return *fitted(folder), folder


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.parametrize("step", [1, 11, 12, 13, 23, 24])
def test_every_checkpoint_leads_to_the_same_end(whole: Any, tmp_path: Path, step: int) -> None:
    steps, expected, folder = whole
    (checkpoint,) = folder.glob(f"step-step={step}.ckpt")
    found_steps, found = fitted(tmp_path, checkpoint)
    assert found_steps == steps == 24
    for name, weights in expected.items():
        assert torch.equal(found[name], weights), name


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(tmp_path: Path) -> None:
    assert newest(tmp_path) == (None, [])
    for name in ("step-2.ckpt", LAST):
        WholeCheckpoints().save_checkpoint({"weights": torch.arange(1000)}, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == [LAST, "step-2.ckpt"]
    assert newest(tmp_path) == (tmp_path / LAST, [])
    content = bytearray((tmp_path / LAST).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / LAST).write_bytes(content)
    found, problems = newest(tmp_path)
    assert found == tmp_path / "step-2.ckpt"
    assert problems == [damage(tmp_path / LAST)]
    (tmp_path / "step-2.ckpt").write_bytes(content[:100])
    assert newest(tmp_path)[0] is None
