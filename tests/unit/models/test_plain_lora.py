"""LoRA read from its file against PEFT: the same weights bit for bit, or left to PEFT."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftConfig
from safetensors.torch import load_file, save_file
from torch import Tensor

from taskdepth.errors import ModelError
from taskdepth.models import adapters, plain_lora
from taskdepth.models.adapters import worn
from tiny import tiny_llama

IDS = torch.tensor([[3, 4, 5, 6]])
PLAIN = {
    "default": LoraConfig(r=2, target_modules=["q_proj", "v_proj"]),
    "all layers": LoraConfig(r=3, lora_alpha=7, target_modules="all-linear", lora_dropout=0.1),
    "rank-stabilised": LoraConfig(r=3, target_modules=["o_proj"], use_rslora=True),
    "rank pattern": LoraConfig(
        r=2, target_modules=["q_proj", "up_proj"], rank_pattern={"up_proj": 5}
    ),
}
MORE = {
    "DoRA": LoraConfig(r=2, target_modules=["q_proj"], use_dora=True),
    "alpha pattern": LoraConfig(
        r=2, target_modules=["q_proj", "v_proj"], alpha_pattern={"q_proj": 3}
    ),
    "biases": LoraConfig(r=2, target_modules=["q_proj"], lora_bias=False, bias="all"),
    "whole modules": LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["norm"]),
    "IA3": IA3Config(target_modules=["k_proj"], feedforward_modules=[]),
}


def saved(folder: Path, config: PeftConfig, blocks: list[int] | None = None) -> None:
    """An adapter that does something: LoRA starts with B = 0."""
    model = adapters.attach(tiny_llama().lm, copy.deepcopy(config), blocks)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += torch.randn(parameter.shape, generator=generator)
    adapters.save(model, folder)


def weights(lm: torch.nn.Module) -> dict[str, Tensor]:
    named = {name.replace(".base_layer", ""): p for name, p in lm.named_parameters()}
    return {name: p.detach().clone() for name, p in named.items() if "lora_" not in name}


@pytest.mark.parametrize("blocks", [None, [1, 3]])
@pytest.mark.parametrize("name", PLAIN)
def test_the_sums_are_those_of_peft_bit_for_bit(
    name: str, blocks: list[int] | None, tmp_path: Path
) -> None:
    saved(tmp_path, PLAIN[name], blocks)
    lm = tiny_llama().lm
    before = weights(lm)
    with torch.no_grad(), adapters.loaded(lm, tmp_path) as wearing, adapters.merged(wearing):
        peft_s = {key.removeprefix("base_model.model."): p for key, p in weights(wearing).items()}
    lora = plain_lora.read(tmp_path)
    assert lora is not None
    assert plain_lora.fits(lora, lm)
    with plain_lora.added(lm, lora):
        ours = weights(lm)
    assert any(not torch.equal(ours[key], p) for key, p in before.items())
    assert ours.keys() == peft_s.keys()
    assert all(torch.equal(ours[key], p) for key, p in peft_s.items())
    after = weights(lm)
    assert all(torch.equal(after[key], p) for key, p in before.items())


@pytest.mark.parametrize("name", MORE)
def test_what_is_more_than_plain_is_left_to_peft(name: str, tmp_path: Path) -> None:
    saved(tmp_path, MORE[name])
    assert plain_lora.read(tmp_path) is None
    lm = tiny_llama().lm
    with torch.no_grad(), adapters.loaded(lm, tmp_path) as wearing:
        expected = wearing(input_ids=IDS).logits
    with worn(lm, tmp_path, "any"):
        torch.testing.assert_close(lm(input_ids=IDS).logits, expected, rtol=1e-4, atol=1e-4)


def test_an_option_of_a_later_peft_is_left_to_peft(tmp_path: Path) -> None:
    saved(tmp_path, PLAIN["default"])
    config = tmp_path / "adapter_config.json"
    options = json.loads(config.read_text())
    config.write_text(json.dumps({**options, "use_tomorrow": False}))
    assert plain_lora.read(tmp_path) is not None
    config.write_text(json.dumps({**options, "use_tomorrow": True}))
    assert plain_lora.read(tmp_path) is None


def test_half_precision_stays_beside_the_model(tmp_path: Path) -> None:
    saved(tmp_path, PLAIN["default"])
    lm = tiny_llama().lm.bfloat16()
    lora = plain_lora.read(tmp_path)
    assert lora is not None
    assert not plain_lora.fits(lora, lm)
    before = weights(lm)
    with worn(lm, tmp_path, "any"):
        now = weights(lm)
        assert all(torch.equal(now[name], p) for name, p in before.items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", PLAIN)
def test_beside_half_precision_is_what_peft_computes_bit_for_bit(
    name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    saved(tmp_path, PLAIN[name])
    lm = tiny_llama().lm.to(dtype)
    with torch.no_grad(), adapters.loaded(lm, tmp_path) as wearing:
        expected = wearing(input_ids=IDS).logits
    lora = plain_lora.read(tmp_path)
    assert lora is not None
    with torch.no_grad():
        own = lm(input_ids=IDS).logits
        with plain_lora.beside(lm, lora):
            assert torch.equal(lm(input_ids=IDS).logits, expected)
        assert torch.equal(lm(input_ids=IDS).logits, own)
    assert not torch.equal(own, expected)


@pytest.mark.parametrize("damage", ["another model's", "torn"])
def test_an_adapter_that_does_not_fit_is_told(damage: str, tmp_path: Path) -> None:
    saved(tmp_path, PLAIN["default"])
    file = tmp_path / "adapter_model.safetensors"
    if damage == "torn":
        file.write_bytes(file.read_bytes()[:100])
    else:
        wide = {name: torch.cat([p, p], dim=1) for name, p in load_file(file).items()}
        save_file(wide, file)
    lm = tiny_llama().lm
    before = weights(lm)
    with pytest.raises(ModelError, match=r"does not fit|cannot be read"), worn(lm, tmp_path, "any"):
        pass
    after = weights(lm)
    assert all(torch.equal(after[name], p) for name, p in before.items())


def test_a_torn_adapter_has_no_first_block(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"\x10")
    with pytest.raises(ModelError, match="cannot be read"):
        adapters.first_block(tiny_llama().lm, tmp_path)
