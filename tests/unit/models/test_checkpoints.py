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
