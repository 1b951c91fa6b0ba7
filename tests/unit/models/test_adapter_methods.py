"""Every adapter of conf/adapter through the real pipeline: blocks, two steps, save, reload, detach."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from taskdepth import config as configs
from taskdepth.config import TrainConfig
from taskdepth.data.batches import Batching
from taskdepth.data.mixture import Mixture
from taskdepth.data.module import TaskDataModule
from taskdepth.data.tokenise import PromptFormat, Tokeniser
from taskdepth.errors import ModelError
from taskdepth.models import adalora, adapters, routing, starts
from taskdepth.models.loading import LanguageModel, check_quantization
from taskdepth.pipelines.adapting import adapt
from taskdepth.pipelines.fitting import FitReport, fit
from tiny import tiny_llama

pytestmark = pytest.mark.slow

METHODS = sorted(
    path.stem
    for path in (configs.conf_dir() / "adapter").glob("*.yaml")
    if path.stem not in ("none", "hft", "qlora")
)
TASKS = ["demo_both_members", "demo_capital_city"]
IDS = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 10, 11, 12]])
SMALL = {  # what the tiny model cannot hold
    "eva": ["adapter.peft.r=2", "adapter.calibration_rows=16"],
    "corda": ["adapter.peft.r=2", "adapter.calibration_rows=16"],
    "vera": ["adapter.peft.r=8"],
}


def settings(method: str, *overrides: str) -> TrainConfig:
    given = [
        f"adapter={method}",
        *SMALL.get(method, []),
        "tasks=[" + ",".join(TASKS) + "]",
        "trainer.max_steps=2",
        "trainer.batch_size_examples=4",
        "trainer.val_examples_per_task=2",
        "trainer.accelerator=cpu",
        "optimizer.lr=0.02",
        "data.max_length_tokens=64",
        *overrides,
    ]
    with initialize_config_dir(str(configs.conf_dir()), version_base="1.3"):
        return configs.resolve(compose("train", given))


def data_of(config: TrainConfig, model: LanguageModel) -> tuple[TaskDataModule, list[Any]]:
    source = configs.instantiate(config.data.source)
    specs = [source.specs()[name] for name in TASKS]
    tokeniser = Tokeniser(
        model.tokenizer, PromptFormat(), model.window_tokens, config.data.max_length_tokens
    )
    data = TaskDataModule(
        source,
        specs,
        tokeniser,
        Mixture(cap_per_task_examples=20),
        batching=Batching(
            config.trainer.batch_size_examples, packed=config.adapter.name not in ("poly", "mhr")
        ),
        seed=config.seed,
        val_examples_per_task=config.trainer.val_examples_per_task,
    )
    return data, specs


def adapted(
    config: TrainConfig, model: LanguageModel, blocks: list[int] | None
) -> tuple[PeftModel, TaskDataModule]:
    data, specs = data_of(config, model)
    torch.manual_seed(0)
    return adapt(config, model, specs, data, blocks), data


def trained(
    config: TrainConfig, model: LanguageModel, blocks: list[int] | None
) -> tuple[PeftModel, FitReport]:
    lm, data = adapted(config, model, blocks)
    return lm, fit(lm, TASKS, data, config)


@torch.no_grad()
def logits(lm: torch.nn.Module, task: str = TASKS[1]) -> Tensor:
    with routing.routed(lm.eval(), task):
        return lm(input_ids=IDS).logits


def weights(lm: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in lm.named_parameters()}


def same(lm: torch.nn.Module, before: dict[str, Tensor]) -> bool:
    now = dict(lm.named_parameters())
    return now.keys() == before.keys() and all(torch.equal(now[n], before[n]) for n in now)


@pytest.mark.parametrize("method", METHODS)
def test_two_steps_saved_and_reloaded_bit_for_bit(method: str, tmp_path: Path) -> None:
    model = tiny_llama()
    before, untuned = weights(model.lm), logits(model.lm)
    lm, report = trained(settings(method), model, [1])

    assert report.steps == 2
    assert adapters.adapted_blocks(lm) == (1,)
    learnt = [name for name, p in lm.named_parameters() if p.requires_grad]
    assert learnt
    assert all("layers.1." in name for name in learnt), "only the adapter learns, in its block"
    for name, p in lm.get_base_model().named_parameters():
        plain = name.replace(".base_layer", "")
        assert plain not in before or torch.equal(p, before[plain]), name
    expected = logits(lm)
    assert not torch.equal(expected, untuned)

    adapters.save(lm, tmp_path)
    assert adapters.detach(lm) is model.lm
    assert same(model.lm, before)
    assert all(p.requires_grad for p in model.lm.parameters())
    assert torch.equal(logits(model.lm), untuned)

    fresh = tiny_llama()
    for _ in range(2):  # one after another on one base
        with adapters.loaded(fresh.lm, tmp_path) as again:
            assert adapters.adapted_blocks(again) == (1,)
            assert torch.equal(logits(again), expected)
        assert same(fresh.lm, before)
    plain_peft = PeftModel.from_pretrained(tiny_llama().lm, tmp_path)
    routing.remember(plain_peft, routing.read(tmp_path))
    assert torch.equal(logits(plain_peft), expected)


@pytest.mark.parametrize("method", METHODS)
def test_all_blocks_and_one_adapter_after_another(method: str) -> None:
    model = tiny_llama()
    before = weights(model.lm)
    for blocks in (None, [0, 3], [2]):
        lm, _ = adapted(settings(method), model, blocks)
        assert adapters.adapted_blocks(lm) == tuple(blocks or range(4))
        adapters.detach(lm)
        assert same(model.lm, before)


@pytest.mark.parametrize("method", METHODS)
def test_merged_it_computes_the_same_and_leaves_no_trace(method: str) -> None:
    model = tiny_llama()
    before, untuned = weights(model.lm), logits(model.lm)
    lm, _ = trained(settings(method), model, [1, 2])
    beside = logits(lm)
    with adapters.merged(lm):
        torch.testing.assert_close(logits(lm), beside, rtol=1e-4, atol=1e-5)
        now = {name.replace(".base_layer", ""): p for name, p in model.lm.named_parameters()}
        changed = any(not torch.equal(now[name], p) for name, p in before.items())
        assert changed == (method not in ("poly", "mhr")), "PEFT can add all but routed adapters"
    assert torch.equal(logits(lm), beside)
    adapters.detach(lm)
    assert same(model.lm, before)
    assert torch.equal(logits(model.lm), untuned)


def test_half_precision_is_not_merged() -> None:
    model = tiny_llama()
    model.lm.bfloat16()
    lm, _ = adapted(settings("lora"), model, None)
    kept = weights(lm)
    with adapters.merged(lm):
        assert same(lm, kept)


@pytest.mark.parametrize("method", ["pissa", "corda"])
def test_beside_the_base_model_it_is_peft_s_own(method: str) -> None:
    """The same function and the same gradients as PEFT's residual form, which rewrites the base."""
    ours, _ = adapted(settings(method), tiny_llama(), [1])
    model = tiny_llama()
    theirs = _peft_s_own(method, model)
    torch.testing.assert_close(logits(ours), logits(tiny_llama().lm), rtol=1e-4, atol=1e-4)
    gradients = []
    for lm in (ours, theirs):
        lm.train()
        lm(input_ids=IDS, labels=IDS).loss.backward()
        found = {
            name.replace("parametrizations.weight.original", "weight"): p.grad
            for name, p in lm.named_parameters()
            if p.requires_grad
        }
        gradients.append(found)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-3, atol=1e-4, msg=name)
    trainable = [
        sum(p.numel() for p in lm.parameters() if p.requires_grad) for lm in (ours, theirs)
    ]
    assert trainable[0] == trainable[1]


def _peft_s_own(method: str, model: LanguageModel) -> PeftModel:
    config = settings(method)
    node = configs.instantiate(config.adapter.peft)
    node.target_modules = {
        n
        for n, m in model.lm.named_modules()
        if "layers.1." in n and isinstance(m, torch.nn.Linear)
    }
    if method == "corda":
        from peft.tuners.lora.corda import preprocess_corda

        from taskdepth.pipelines import adapting

        data, _ = data_of(config, model)
        rows = adapting._calibration(data, config.adapter.calibration_rows, config.seed)
        preprocess_corda(model.lm, node, run_model=lambda: starts._read_one_by_one(model.lm, rows))
    return get_peft_model(model.lm, node)


@pytest.mark.parametrize("init", ["olora", "pissa_niter_4"])
@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_other_starts_leave_the_base_alone(init: str, options: dict[str, bool]) -> None:
    model = tiny_llama()
    before, untuned = weights(model.lm), logits(model.lm)
    config = LoraConfig(r=4, init_lora_weights=init, target_modules=["q_proj"], **options)
    lm = adapters.attach(model.lm, config, None)
    torch.testing.assert_close(logits(lm), untuned, rtol=1e-4, atol=1e-4)
    adapters.detach(lm)
    assert same(model.lm, before)


def test_rewriting_the_base_is_refused() -> None:
    config = LoraConfig(target_modules=["q_proj"])
    config.init_lora_weights = "lora_ga"
    with pytest.raises(ModelError, match="lora_ga rewrites the base model"):
        adapters.attach(tiny_llama().lm, config, None)


@pytest.mark.parametrize("method", ["eva", "corda"])
def test_without_calibration_rows_it_is_refused(method: str) -> None:
    model = tiny_llama()
    config = configs.instantiate(settings(method).adapter.peft)
    with pytest.raises(ModelError, match=f"{method} starts from activations: it needs"):
        adapters.attach(model.lm, config, None)


def test_eva_needs_as_many_tokens_as_directions() -> None:
    config = configs.instantiate(settings("eva").adapter.peft)
    batch = {"input_ids": IDS[:1, :3], "attention_mask": torch.ones(1, 3, dtype=torch.int64)}
    with pytest.raises(ModelError, match=r"eva needs 4 tokens .* one has 3"):
        adapters.attach(tiny_llama().lm, config, None, calibration=[batch])


def test_eva_that_leaves_a_block_without_rank_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(model: PeftModel, _: object) -> None:
        for name, module in list(model.named_modules()):
            if "layers.2." in name and isinstance(module, BaseTunerLayer):
                model.set_submodule(name, module.get_base_layer())

    monkeypatch.setattr(starts, "start_from_activations", drop)
    with pytest.raises(ModelError, match=r"EVA gave blocks \[2\] no rank: .*rho=1.0"):
        adapted(settings("eva"), tiny_llama(), [1, 2])


def test_a_failed_attach_leaves_the_model_as_it_was() -> None:
    model = tiny_llama()
    before = weights(model.lm)
    config = LoraConfig(target_modules=["q_proj", "input_layernorm"])
    with pytest.raises(ModelError, match="PEFT cannot adapt this model"):
        adapters.attach(model.lm, config, None)
    assert same(model.lm, before)
    assert adapters.adapted_blocks(model.lm) == ()
    assert all(p.requires_grad for p in model.lm.parameters())


def test_calibration_rows_are_those_of_the_seed_and_of_all_tasks() -> None:
    from taskdepth.pipelines.adapting import _calibration

    model = tiny_llama()
    data, _ = data_of(settings("eva"), model)
    first, second, other = (_calibration(data, 16, seed) for seed in (0, 0, 1))
    assert all(
        torch.equal(a["input_ids"], b["input_ids"]) for a, b in zip(first, second, strict=True)
    )
    assert any(
        a["input_ids"].shape != b["input_ids"].shape
        or not torch.equal(a["input_ids"], b["input_ids"])
        for a, b in zip(first, other, strict=True)
    )
    assert sum(len(batch["input_ids"]) for batch in first) == 16


# AdaLoRA


def test_adalora_moves_ranks_and_keeps_vectors_orthogonal() -> None:
    config = settings(
        "adalora", "trainer.max_steps=10", "adapter.peft.init_r=4", "adapter.peft.target_r=2"
    )
    lm, _ = trained(config, tiny_llama(), [1, 2])
    peft = lm.peft_config["default"]
    assert (peft.total_step, peft.tinit, peft.tfinal) == (10, 1, 3)
    values = [p for name, p in lm.named_parameters() if "lora_E" in name]
    assert sum(int((p != 0).sum()) for p in values) == 2 * len(values), "the budget is kept"
    with torch.no_grad():
        ours = float(adalora.penalty(lm))
        with_it = lm(input_ids=IDS, labels=IDS).loss
        peft.orth_reg_weight = 0.0
        without = lm(input_ids=IDS, labels=IDS).loss
    assert ours == pytest.approx(float(with_it - without), rel=1e-4)
    assert adalora.penalty(tiny_llama().lm) == 0.0


@pytest.mark.parametrize("method", ["adalora", "pissa", "corda", "eva"])
def test_a_resumed_run_ends_as_if_it_had_not_stopped(method: str, tmp_path: Path) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    ranks = ["adapter.peft.init_r=4", "adapter.peft.target_r=2"] if method == "adalora" else []
    config = settings(method, "trainer.max_steps=6", *ranks)
    lm, data = adapted(config, tiny_llama(), [1])
    saver = ModelCheckpoint(tmp_path, "step-{step}", every_n_train_steps=3, save_top_k=-1)
    fit(lm, TASKS, data, config, callbacks=[saver])
    again, data = adapted(config, tiny_llama(), [1])
    checkpoint = tmp_path / "step-step=3.ckpt"
    fit(again, TASKS, data, config, callbacks=[copy.deepcopy(saver)], ckpt_path=checkpoint)
    assert torch.equal(logits(again), logits(lm))
    patterns = [m.peft_config["default"].rank_pattern for m in (again, lm)]
    assert patterns[0] == patterns[1]


def test_without_names_peft_s_own_choice_is_limited_too() -> None:
    model = tiny_llama()
    lm = adapters.attach(model.lm, LoraConfig(), [3])
    assert adapters.adapted_blocks(lm) == (3,)
    adapters.detach(lm)
    with pytest.raises(ModelError, match=r"name adapter.peft.target_modules: IA3Config"):
        adapters.attach(model.lm, IA3Config(), [3])


def test_a_regular_expression_can_be_limited_to_blocks() -> None:
    config = LoraConfig(target_modules=r".*self_attn\.(q|v)_proj")
    lm = adapters.attach(tiny_llama().lm, config, [2])
    assert adapters.adapted_blocks(lm) == (2,)
    with pytest.raises(ModelError, match="no module of blocks"):
        adapters.attach(tiny_llama().lm, LoraConfig(target_modules=["k", "v"]), [2])


# Poly


def test_poly_goes_the_way_of_the_task(tmp_path: Path) -> None:
    lm, _ = trained(settings("poly", "trainer.max_steps=8"), tiny_llama(), [1])
    assert lm.peft_config["default"].n_tasks == 2
    first, second = (logits(lm, task) for task in TASKS)
    assert not torch.equal(first, second)
    with torch.no_grad(), routing.routed(lm, torch.tensor([1, 0])):
        mixed = lm(input_ids=IDS).logits
    torch.testing.assert_close(mixed, torch.stack([second[0], first[1]]))
    adapters.save(lm, tmp_path)
    assert json.loads((tmp_path / "tasks.json").read_text()) == TASKS
    routing.check(tmp_path, TASKS[0])
    for ask in (
        lambda: routing.check(tmp_path, "demo_capital"),
        lambda: logits(lm, "demo_capital"),
    ):
        with pytest.raises(
            ModelError, match="no route for task demo_capital: did you mean demo_capital_city"
        ):
            ask()


def test_a_block_computed_again_finds_its_route() -> None:
    gradients = []
    for checkpointing in (False, True):
        lm, _ = adapted(settings("poly"), tiny_llama(), [1])
        lm.train()
        if checkpointing:
            lm.get_base_model().activation_checkpointing_enable({"use_reentrant": False})
        torch.manual_seed(0)
        with routing.routed(lm, torch.tensor([0, 1])):
            loss = lm(input_ids=IDS, labels=IDS, use_cache=False).loss
        loss.backward()
        gradients.append([p.grad for p in lm.parameters() if p.requires_grad])
        logits(lm)
        assert not any(m._forward_pre_hooks for m in lm.modules()), "nothing stays behind"
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)


def test_poly_needs_a_row_for_each_example() -> None:
    lm, _ = adapted(settings("poly"), tiny_llama(), [1])
    with (
        pytest.raises(ModelError, match=r"3 examples in 2 rows: .* trainer.packing=false"),
        routing.routed(lm, torch.tensor([0, 1, 1])),
    ):
        lm(input_ids=IDS)


def test_poly_needs_its_tasks() -> None:
    config = configs.instantiate(settings("poly").adapter.peft)
    with pytest.raises(ModelError, match="needs to know its tasks"):
        adapters.attach(tiny_llama().lm, copy.deepcopy(config), None)
    config.n_tasks = 5
    with pytest.raises(ModelError, match="n_tasks=5, but 2 tasks are chosen"):
        adapters.attach(tiny_llama().lm, config, None, tasks=TASKS)


def test_splits_must_divide_every_weight() -> None:
    model = tiny_llama()
    before = weights(model.lm)
    config = settings("mhr", "adapter.peft.n_splits=3")
    with pytest.raises(ModelError, match=r"n_splits=3 does not divide the width of .*q_proj"):
        adapted(config, model, [1])
    assert same(model.lm, before)


def test_qlora_is_refused_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match=r"^QLoRA needs a CUDA GPU: adapter=lora here$"):
        check_quantization("4bit")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="QLoRA needs bitsandbytes"):
        check_quantization("4bit")
    check_quantization(None)
