from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from taskdepth import layers
from taskdepth.data.collate import collate
from taskdepth.data.tokenise import TokenisedRow
from taskdepth.models.half_tuning import HalfTuning, categories, frozen_half
from taskdepth.models.tuner import InstructionTuner, Schedule
from tiny import tiny_llama

ROWS = [TokenisedRow("a", "t", (5, 6, 7, 8, 9), 3), TokenisedRow("b", "t", (11, 4, 3), 1)]
SIZES = {"attention": 4, "feed_forward": 3, "norm": 2}


class Epoch:
    """Two batches."""

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[Any]:
        return iter([collate(ROWS, [0, 0])] * 2)


class Watch(Callback):
    """Which parameters stand still, and whether they really do, step by step."""

    def __init__(self) -> None:
        self.frozen: list[frozenset[str]] = []
        self.moved: list[frozenset[str]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        named = dict(pl_module.lm.named_parameters())
        self.frozen.append(frozenset(n for n, p in named.items() if not p.requires_grad))
        self._before = {n: p.detach().clone() for n, p in named.items()}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        named = pl_module.lm.named_parameters()
        self.moved.append(frozenset(n for n, p in named if not torch.equal(p, self._before[n])))


def run(
    lm: torch.nn.Module,
    round_steps: int | None,
    *callbacks: Callback,
    max_epochs: int = 3,
    ckpt_path: Path | None = None,
) -> Watch:
    watch = Watch()
    adamw = functools.partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.1)
    trainer = lightning.Trainer(
        max_epochs=max_epochs,
        logger=False,
        enable_checkpointing=bool(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        limit_val_batches=0,
        callbacks=[HalfTuning(lm, 0, round_steps), watch, *callbacks],
    )
    tuner = InstructionTuner(lm, ["t"], adamw, Schedule(6, "constant"))
    trainer.fit(tuner, Epoch(), [], ckpt_path=ckpt_path, weights_only=ckpt_path is not None)
    return watch


def test_half_of_each_category_of_each_block_is_frozen() -> None:
    lm = tiny_llama().lm
    for number in range(3):
        frozen = set(frozen_half(lm, 0, number))
        odd = 0
        for block in layers.find_blocks(lm):
            by_category = categories(block)
            assert {category: len(names) for category, names in by_category.items()} == SIZES
            n_frozen = {
                category: sum(block.get_submodule(name) in frozen for name in names)
                for category, names in by_category.items()
            }
            assert (n_frozen["attention"], n_frozen["norm"]) == (2, 1)
            assert n_frozen["feed_forward"] in (1, 2)
            odd += n_frozen["feed_forward"]
        assert odd == 6, "half of the twelve matrices of four blocks"


def test_the_half_depends_on_seed_and_round_alone() -> None:
    first, second = tiny_llama().lm, tiny_llama(seed=1).lm

    def names(lm: torch.nn.Module, seed: int, number: int) -> list[str]:
        by_module = {module: name for name, module in lm.named_modules()}
        return [by_module[module] for module in frozen_half(lm, seed, number)]

    assert names(first, 0, 0) == names(second, 0, 0)
    assert names(first, 0, 0) != names(first, 0, 1)
    assert names(first, 0, 0) != names(first, 1, 0)


def test_what_is_frozen_stands_still_and_each_epoch_draws_anew() -> None:
    lm = tiny_llama().lm
    watch = run(lm, None)
    every = {name for name, _ in lm.named_parameters()}
    for frozen, moved in zip(watch.frozen, watch.moved, strict=True):
        assert frozen
        assert moved == every - frozen
        assert not any("embed" in name or name == "model.norm.weight" for name in frozen)
    rounds = watch.frozen[::2]
    assert watch.frozen[1::2] == rounds, "the same half over the steps of a round"
    assert len(set(rounds)) == 3
    assert all(p.requires_grad for p in lm.parameters()), "all are free again afterwards"


def test_rounds_of_steps() -> None:
    watch = run(tiny_llama().lm, 3)
    assert len(watch.frozen) == 6
    assert len(set(watch.frozen[:3])) == len(set(watch.frozen[3:])) == 1
    assert watch.frozen[0] != watch.frozen[3]


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_checkpoints_hold_all_and_resuming_goes_on_as_before(tmp_path: Path) -> None:
    whole = tiny_llama().lm
    saver = ModelCheckpoint(tmp_path, "step-{step}", every_n_train_steps=2, save_top_k=-1)
    run(whole, 3, saver)
    path = tmp_path / "step-step=2.ckpt"
    state = torch.load(path, weights_only=True)["state_dict"]
    assert {name.removeprefix("lm.") for name in state} == {n for n, _ in whole.named_parameters()}
    resumed = tiny_llama().lm
    watch = run(resumed, 3, copy.deepcopy(saver), ckpt_path=path)
    assert len(watch.frozen) == 4
    for (name, p), other in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(p, other), name
