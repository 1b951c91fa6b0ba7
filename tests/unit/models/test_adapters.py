from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file

from taskdepth.errors import ConfigError, ModelError
from taskdepth.models import adapters
from tiny import tiny_llama

IDS = torch.tensor([[3, 4, 5, 6]])


def lora(**options: object) -> LoraConfig:
    return LoraConfig(
        r=2, target_modules=options.pop("target_modules", ["q_proj", "v_proj"]), **options
    )


def llama() -> transformers.PreTrainedModel:
    """Wider than the tiny one, and with a head of its own."""
    config = transformers.LlamaConfig(
        num_hidden_layers=4,
        hidden_size=64,
        intermediate_size=64,
        num_attention_heads=4,
        vocab_size=300,
        tie_word_embeddings=False,
    )
    return transformers.AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [(None, (0, 1, 2, 3)), ([0], (0,)), ([3, 1], (1, 3)), ([0, 1, 2, 3], (0, 1, 2, 3))],
)
def test_exactly_the_chosen_blocks_are_adapted(
    blocks: list[int] | None, expected: tuple[int, ...]
) -> None:
    model = adapters.attach(tiny_llama().lm, lora(), blocks)
    assert adapters.adapted_blocks(model) == expected
    trainable = {
        name.split("layers.")[1].split(".")[0]
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    assert trainable == {str(block) for block in expected}


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([], "no block is chosen"),
        ([4], r"blocks \[4\] do not exist"),
        ([1, 1], "named twice"),
        ([-1], "do not exist"),
    ],
)
def test_wrong_blocks_are_refused(blocks: list[int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        adapters.attach(tiny_llama().lm, lora(), blocks)


def test_modules_outside_the_blocks_are_refused() -> None:
    with pytest.raises(ModelError, match="lm_head is adapted, but lies outside"):
        adapters.attach(llama(), lora(target_modules=["q_proj", "lm_head"]), None)


def test_unknown_modules_are_one_readable_line() -> None:
    with pytest.raises(ModelError, match="PEFT cannot adapt this model") as caught:
        adapters.attach(tiny_llama().lm, lora(target_modules=["nothing"]), None)
    assert "\n" not in str(caught.value)


def test_a_new_adapter_changes_nothing_and_freezes_the_rest() -> None:
    lm = tiny_llama().lm
    before = lm(IDS).logits
    weights = {name: p.clone() for name, p in lm.named_parameters()}
    model = adapters.attach(lm, lora(), [2])
    torch.testing.assert_close(model(IDS).logits, before, rtol=0, atol=0)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        model(IDS, labels=IDS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not torch.allclose(model(IDS).logits, before)
    back = adapters.detach(model)
    assert {name for name, _ in back.named_parameters()} == set(weights)
    for name, p in back.named_parameters():
        assert torch.equal(p, weights[name]), name
        assert p.requires_grad


def test_one_adapter_after_another_on_one_resident_model() -> None:
    lm = tiny_llama().lm
    for _ in range(3):
        model = adapters.attach(lm, lora(), [1])
        assert adapters.adapted_blocks(model) == (1,)
        assert len(model.peft_config) == 1
        assert adapters.detach(model) is lm


def test_save_and_load_bit_for_bit_with_plain_peft(tmp_path: Path, tiny_folder: Path) -> None:
    lm = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder)
    before = lm(IDS).logits
    torch.manual_seed(1)
    model = adapters.attach(lm, lora(init_lora_weights=False), [0, 3])
    expected = model.eval()(IDS).logits
    adapters.save(model, tmp_path)
    names = load_file(tmp_path / "adapter_model.safetensors")
    assert {n.split("layers.")[1][0] for n in names} == {"0", "3"}
    adapters.detach(model)
    with adapters.loaded(lm, tmp_path) as again:
        assert torch.equal(again(IDS).logits, expected)
        assert not again.training
    assert torch.equal(lm(IDS).logits, before)
    elsewhere = PeftModel.from_pretrained(
        transformers.AutoModelForCausalLM.from_pretrained(tiny_folder), tmp_path
    )
    assert torch.equal(elsewhere.eval()(IDS).logits, expected)


def test_a_folder_without_an_adapter_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(ModelError, match="holds no adapter"),
        adapters.loaded(tiny_llama().lm, tmp_path),
    ):
        pass


def test_an_adapter_of_another_width_is_named(tmp_path: Path) -> None:
    model = adapters.attach(llama(), lora(), None)
    adapters.save(model, tmp_path)
    with (
        pytest.raises(ModelError, match="does not fit"),
        adapters.loaded(tiny_llama().lm, tmp_path),
    ):
        pass
