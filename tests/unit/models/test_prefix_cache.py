from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
import transformers
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from peft import LoraConfig
from torch import Tensor

from small_fit import SPECS, Tasks, data
from taskdepth import config, layers
from taskdepth.data.batches import Batching
from taskdepth.data.mixture import Mixture
from taskdepth.data.module import TaskDataModule
from taskdepth.data.tokenise import PromptFormat, Tokeniser
from taskdepth.errors import ConfigError
from taskdepth.models import adapters
from taskdepth.models.packing import packed
from taskdepth.models.prefix_cache import PrefixCache, has_room_on_disk, n_bytes, reusable_blocks
from taskdepth.models.tuner import InstructionTuner, Schedule
from taskdepth.pipelines import fitting
from tiny import tiny_llama

FIRST = 2
LORA = {"task_type": "CAUSAL_LM", "r": 4, "target_modules": "all-linear"}


def gpt2(**changes: Any) -> Any:
    torch.manual_seed(2)
    shape = {"n_layer": 4, "n_embd": 32, "n_head": 2, "vocab_size": 400, "initializer_range": 0.2}
    quiet = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**shape, **quiet, **changes}))


def adapted(lm: Any, blocks: list[int], **changes: Any) -> Any:
    torch.manual_seed(3)
    transposed = lm.config.model_type == "gpt2"
    lora = LoraConfig(**{**LORA, "fan_in_fan_out": transposed, **changes})
    return adapters.attach(lm, lora, blocks)


class Losses(Callback):
    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.found.append(float(trainer.callback_metrics["train/loss"]))


def fit(
    lm: Any,
    how: str = "packed",
    *,
    cached: bool,
    folder: Path,
    limit_bytes: int = 2**20,
    n_steps: int = 9,
    callbacks: Sequence[Callback] = (),
    ckpt: Path | None = None,
    batching: Batching | None = None,
) -> tuple[list[float], dict[str, Tensor]]:
    """Losses and adapter after some steps; an epoch has four."""
    own = tiny_llama()
    tokeniser = Tokeniser(own.tokenizer, PromptFormat(), own.window_tokens)
    is_packed = how == "packed"
    batching = batching or Batching(12, packed=is_packed)
    module = TaskDataModule(
        Tasks(), list(SPECS.values()), tokeniser, Mixture(), batching=batching, seed=0
    )
    rows = module.training.rows
    prefix = PrefixCache(rows, FIRST, packed=is_packed, limit_bytes=limit_bytes, folder=folder)
    adamw = functools.partial(torch.optim.AdamW, lr=1e-2)
    tuner = InstructionTuner(
        lm, list(SPECS), adamw, Schedule(n_steps), prefix=prefix if cached else None
    )
    losses = Losses()
    trainer = lightning.Trainer(
        max_steps=n_steps,
        limit_val_batches=0,
        logger=False,
        callbacks=[losses, *callbacks],
        enable_checkpointing=bool(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        accelerator="cpu",
    )
    with packed(lm) if is_packed else nullcontext():
        trainer.fit(tuner, datamodule=module, ckpt_path=ckpt, weights_only=bool(ckpt))
    weights = {name: p.detach().clone() for name, p in lm.named_parameters() if p.requires_grad}
    return losses.found, weights


def model(family: str) -> Any:
    return tiny_llama().lm if family == "llama" else gpt2()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("how", ["packed", "padded"])
def test_losses_and_adapters_are_those_without_the_cache(
    family: str, how: str, tmp_path: Path
) -> None:
    found = [
        fit(adapted(model(family), [FIRST, 3]), how, cached=cached, folder=tmp_path)
        for cached in (False, True)
    ]
    (losses, weights), (again, anew) = found
    assert len(losses) == 9
    assert losses == pytest.approx(again, rel=1e-6)
    for name, weight in weights.items():
        torch.testing.assert_close(anew[name], weight, rtol=1e-4, atol=1e-5)


def test_the_same_kernels_give_the_same_bits(tmp_path: Path) -> None:
    whole = Batching(48, packed=True)  # a batch is all rows, as it is when the cache is filled
    found = [
        fit(adapted(tiny_llama().lm, [FIRST]), cached=c, folder=tmp_path, batching=whole, n_steps=4)
        for c in (False, True)
    ]
    assert found[0][0] == found[1][0]
    assert all(torch.equal(found[1][1][name], weight) for name, weight in found[0][1].items())


def test_blocks_below_run_once_for_each_row(tmp_path: Path) -> None:
    lm = adapted(tiny_llama().lm, [FIRST, 3])
    n_tokens = [0] * 4
    for number, block in enumerate(layers.find_blocks(lm)):

        def count(_: Any, args: Any, kwargs: Any, number: int = number) -> None:
            n_tokens[number] += kwargs["hidden_states"].shape[1] if not args else args[0].shape[1]

        block.self_attn.register_forward_pre_hook(count, with_kwargs=True)
    fit(lm, cached=True, folder=tmp_path, n_steps=8)  # two epochs
    assert n_tokens[0] == n_tokens[1] > 0
    assert n_tokens[2] == n_tokens[3] == 2 * n_tokens[0]


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_a_resumed_run_goes_on_as_it_would_have(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=6, save_top_k=-1)
    lm = adapted(tiny_llama().lm, [FIRST, 3])
    losses, weights = fit(lm, cached=True, folder=tmp_path, callbacks=[saver])
    mid = tmp_path / "step=6.ckpt"  # in the second epoch
    again = adapted(tiny_llama().lm, [FIRST, 3])
    rest, found = fit(
        again, cached=True, folder=tmp_path, callbacks=[copy.deepcopy(saver)], ckpt=mid
    )
    assert rest == losses[6:]
    assert all(torch.equal(found[name], weight) for name, weight in weights.items())


def test_states_on_disk_are_the_same_and_leave_no_file(tmp_path: Path) -> None:
    found = [
        fit(adapted(tiny_llama().lm, [FIRST]), cached=True, folder=tmp_path, limit_bytes=limit)[0]
        for limit in (2**20, 0)
    ]
    assert found[0] == found[1]
    assert not list(tmp_path.iterdir())


def test_gradient_checkpointing_changes_nothing(tmp_path: Path) -> None:
    found = []
    for checkpointing in (False, True):
        lm = adapted(tiny_llama().lm, [FIRST, 3])
        if checkpointing:
            lm.activation_checkpointing_enable({"use_reentrant": False})
        found.append(fit(lm, cached=True, folder=tmp_path, n_steps=5)[0])
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_only_frozen_blocks_without_dropout_are_reused() -> None:
    assert reusable_blocks(adapted(tiny_llama().lm, [2, 3])) == 2
    assert reusable_blocks(adapted(tiny_llama().lm, [3], lora_dropout=0.5)) == 3
    assert reusable_blocks(adapted(tiny_llama().lm, [0, 3])) == 0
    assert reusable_blocks(tiny_llama().lm) == 0, "all of it learns"
    assert reusable_blocks(adapted(gpt2(), [2])) == 2
    assert reusable_blocks(adapted(gpt2(resid_pdrop=0.1), [2])) == 0
    assert reusable_blocks(adapted(gpt2(attn_pdrop=0.1), [2])) == 0
    with_embeddings = adapted(tiny_llama().lm, [2])
    with_embeddings.get_input_embeddings().requires_grad_(True)
    assert reusable_blocks(with_embeddings) == 0
    assert reusable_blocks(tiny_llama().lm.requires_grad_(False)) == 0, "nothing learns"


def test_looking_for_dropout_draws_nothing() -> None:
    lm = adapted(gpt2(resid_pdrop=0.1), [2])
    torch.manual_seed(0)
    reusable_blocks(lm)
    after = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(3), after)


def test_what_does_not_fit_is_kept_on_disk_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cache(*overrides: str) -> Any:
        small = [f"paths.run_dir='{tmp_path}/not/yet'", "trainer.max_epochs=2"]
        config = settings(*small, "trainer.prefix_cache_bytes=9", *overrides)
        return fitting.prefix_cache(adapted(tiny_llama().lm, [FIRST]), data(tiny_llama()), config)

    assert n_bytes(10, 8, torch.float16) == 160
    assert cache() is None
    assert cache("trainer.prefix_cache=true").first_block == FIRST
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    assert has_room_on_disk(700, tmp_path)
    assert not has_room_on_disk(900, tmp_path)
    with pytest.raises(ConfigError, match="bytes of disk are not free"):
        cache("trainer.prefix_cache=true")


@pytest.mark.parametrize(
    ("overrides", "reused"),
    [
        (["trainer.max_epochs=2"], FIRST),
        (["trainer.max_epochs=1"], 0),  # no row is seen again
        (["trainer.max_epochs=1", "trainer.prefix_cache=true"], FIRST),
        (["trainer.max_epochs=2", "trainer.prefix_cache=false"], 0),
        (["trainer.max_epochs=2", "trainer.compile=true"], 0),
        (["trainer.max_steps=12"], 0),  # exactly one epoch
        (["trainer.max_steps=13"], FIRST),
        (["trainer.max_steps=7", "trainer.accumulate_batches=2"], FIRST),
    ],
)
def test_auto_is_where_rows_are_seen_again(overrides: list[str], reused: int) -> None:
    lm = adapted(tiny_llama().lm, [FIRST])
    prefix = fitting.prefix_cache(lm, data(tiny_llama()), settings(*overrides))
    assert (prefix.first_block if prefix else 0) == reused


def test_what_cannot_be_reused_is_refused_when_asked_for() -> None:
    lm = adapted(tiny_llama().lm, [0])
    with pytest.raises(ConfigError, match="lowest block learns"):
        fitting.prefix_cache(lm, data(tiny_llama()), settings("trainer.prefix_cache=true"))


def settings(*overrides: str) -> Any:
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        return config.resolve(compose("train", ["adapter=lora", *overrides]))
