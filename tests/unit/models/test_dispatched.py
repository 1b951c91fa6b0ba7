"""A model in parts against the whole one: the same states, bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from accelerate import cpu_offload
from peft import IA3Config, LoraConfig, PeftConfig
from torch import nn

from taskdepth import layers
from taskdepth.activations.extraction import Adapted, States, extract, extract_each
from taskdepth.activations.pooling import Pooling
from taskdepth.errors import ModelError
from taskdepth.models import adapters, loading
from taskdepth.models.dispatched import (
    Parts,
    changed,
    device_of_inputs,
    is_at_rest,
    rests,
    weight_of,
)
from taskdepth.models.packing import Continued, can_pack
from taskdepth.models.prefix import can_resume
from tiny import TEXTS, tiny_llama

PROMPTS = [[5, 6, 7, 8, 9, 10, 11], [5, 6, 7, 8, 9, 12], [8, 7, 6], [3] * 20]
HEADS = {f"model.{part}": "cpu" for part in ("embed_tokens", "norm", "rotary_emb")}
HALF = {**HEADS, "lm_head": "cpu", "model.layers.0": "cpu", "model.layers.2": "cpu"}
HALF |= {"model.layers.1": "disk", "model.layers.3": "disk"}
TINY_GIB = 1e-4

Place = Callable[..., Any]


def loaded(folder: Path, dtype: str, tmp_path: Path, device_map: Any, **limits: float) -> Any:
    return loading.load(folder, dtype=dtype, parts=Parts(device_map, tmp_path, **limits)).lm


def in_memory(folder: Path, dtype: str, tmp_path: Path) -> Any:
    """Its blocks as they are where a GPU computes and they rest beside it; here both is the same."""
    lm = loading.load(folder, dtype=dtype).lm
    for block in layers.find_blocks(lm)[1:]:
        cpu_offload(block, torch.device("cpu"))
    return lm


PLACES: dict[str, tuple[Place, list[int]]] = {  # and the blocks that rest
    "whole": (partial(loaded, device_map={"": "cpu"}), []),
    "disk": (partial(loaded, device_map={"": "disk"}), [0, 1, 2, 3]),
    "some on disk": (partial(loaded, device_map=HALF), [1, 3]),
    "auto": (partial(loaded, device_map="auto", cpu_limit_gib=TINY_GIB), [0, 1, 2, 3]),
    "memory": (in_memory, [1, 2, 3]),
}


@pytest.fixture(scope="module")
def worn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An adapter in the upper blocks, one in all of them."""
    found = {name: tmp_path_factory.mktemp("adapter") for name in ("upper", "everywhere")}
    save(found["upper"], LoraConfig(r=2, target_modules=["q_proj", "v_proj"]), [2, 3])
    save(found["everywhere"], LoraConfig(r=3, lora_alpha=7, target_modules="all-linear"))
    return found


def save(folder: Path, config: PeftConfig, blocks: list[int] | None = None) -> None:
    model = adapters.attach(tiny_llama().lm, copy.deepcopy(config), blocks)
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter)
    adapters.save(model, folder)


def states(lm: Any, worn: dict[str, Path], *, pack: bool) -> list[States]:
    adapted = [
        Adapted(partial(adapters.worn, lm, folder, "any"), adapters.first_block(lm, folder))
        for folder in worn.values()
    ]
    asked: dict[str, Any] = {"poolings": list(Pooling), "first_targets": [1, 2, 3, 4]}
    return extract_each(lm, adapted, PROMPTS, **asked, pack=pack)


def same(found: list[States], expected: list[States]) -> bool:
    return all(
        torch.equal(one[pooling], other[pooling])
        for one, other in zip(found, expected, strict=True)
        for pooling in Pooling
    )


@pytest.fixture(scope="module")
def expected(tiny_folder: Path, worn: dict[str, Path]) -> Callable[[str, bool], list[States]]:
    """What the whole model gives."""

    @cache
    def found(dtype: str, pack: bool) -> list[States]:
        return states(loading.load(tiny_folder, dtype=dtype).lm, worn, pack=pack)

    return found


@pytest.mark.parametrize(
    ("place", "dtype"),
    [*((place, "float32") for place in PLACES), ("some on disk", "bfloat16")],
)
def test_states_are_those_of_the_whole_model(
    place: str,
    dtype: str,
    tiny_folder: Path,
    worn: dict[str, Path],
    expected: Callable[[str, bool], list[States]],
    tmp_path: Path,
) -> None:
    put, resting = PLACES[place]
    lm = put(tiny_folder, dtype, tmp_path)
    assert [i for i, block in enumerate(layers.find_blocks(lm)) if rests(block)] == resting
    assert device_of_inputs(lm) == torch.device("cpu")
    assert can_pack(lm)
    assert can_resume(lm)
    for pack in (False, True):  # the second time: the adapters left nothing behind
        whole = expected(dtype, pack)
        assert same(states(lm, worn, pack=pack), whole)
        assert not torch.equal(whole[0][Pooling.MEAN][-1], whole[1][Pooling.MEAN][-1])
    assert not list(tmp_path.iterdir())


def test_what_the_file_holds_in_another_shape_goes_to_the_folder(tmp_path: Path) -> None:
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    shape |= {"num_attention_heads": 2, "num_key_value_heads": 2, "num_local_experts": 4}
    torch.manual_seed(0)
    model = loading.build(transformers.MixtralConfig(**shape), TEXTS, 300)
    model.lm.save_pretrained(tmp_path / "model")
    model.tokenizer.save_pretrained(tmp_path / "model")
    lm = loaded(tmp_path / "model", "float32", tmp_path / "rest", {"": "disk"})
    assert list((tmp_path / "rest").glob("*experts*"))
    whole = loading.load(tmp_path / "model").lm
    for pack in (False, True):
        found, expected = (
            extract(m, PROMPTS, poolings=[Pooling.MEAN], pack=pack) for m in (lm, whole)
        )
        assert torch.equal(found[Pooling.MEAN], expected[Pooling.MEAN])


def test_memory_that_runs_out_within_a_block_leaves_it_whole(
    tiny_folder: Path, tmp_path: Path
) -> None:
    lm = loaded(tiny_folder, "float32", tmp_path, HALF)
    asked: dict[str, Any] = {"poolings": [Pooling.MEAN]}
    expected = extract(lm, PROMPTS, **asked)[Pooling.MEAN]
    seen: list[int] = []

    def full(*_: Any) -> None:
        seen.append(1)
        if len(seen) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    inner = layers.find_blocks(lm)[1].mlp.down_proj
    handle = inner.register_forward_hook(full)
    halved = extract(lm, PROMPTS, **asked)[Pooling.MEAN]
    handle.remove()
    assert len(seen) > 2
    torch.testing.assert_close(halved, expected, rtol=1e-4, atol=1e-5)
    assert is_at_rest(inner.weight)
    assert torch.equal(extract(lm, PROMPTS, **asked)[Pooling.MEAN], expected)


def test_a_resting_weight_can_be_read_and_changed(tiny_folder: Path, tmp_path: Path) -> None:
    lm = loaded(tiny_folder, "float32", tmp_path, HALF)
    whole = loading.load(tiny_folder).lm
    for number in (0, 1):
        layer, own = (layers.find_blocks(m)[number].mlp.up_proj for m in (lm, whole))
        assert is_at_rest(layer.weight) == (number == 1)
        assert torch.equal(weight_of(layer), own.weight)
    states = torch.randn(3, 32)
    with torch.no_grad():
        with changed(layer, lambda weight: weight * 2):
            assert torch.equal(layer(states), own(states) * 2)
            assert torch.equal(weight_of(layer), own.weight * 2)
        assert torch.equal(layer(states), own(states))


def test_an_adapter_that_needs_the_weights_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    save(tmp_path / "ia3", IA3Config(target_modules=["k_proj"], feedforward_modules=[]))
    lm = loaded(tiny_folder, "float32", tmp_path, HALF)
    with (
        pytest.raises(ModelError, match="more than a plain LoRA"),
        adapters.worn(lm, tmp_path / "ia3", "any"),
    ):
        pass
    with adapters.worn(
        loaded(tiny_folder, "float32", tmp_path, {"": "cpu"}), tmp_path / "ia3", "any"
    ):
        pass


@pytest.mark.parametrize(
    ("device_map", "message"),
    [
        ({**HALF, "model.layers.9": "disk"}, "no part named model.layers.9"),
        ({"model.layers": "disk"}, "cannot load a causal LM .* does not give any device"),
        ({**HALF, "lm_head": 7}, f"names GPU 7, torch sees {torch.cuda.device_count()}"),
    ],
)
def test_a_map_that_does_not_fit_is_told(
    tiny_folder: Path, tmp_path: Path, device_map: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        loaded(tiny_folder, "float32", tmp_path, device_map)
    assert "\n" not in str(caught.value)


def test_what_goes_to_another_device_is_made_once_there() -> None:
    here = Continued(torch.tensor([0, 2]))
    assert here.to(None) is here
    assert here.to("cpu") is here
    there = here.to(torch.device("meta"))
    assert there.places.device.type == "meta"
    assert here.to("meta") is there


def test_limits_are_those_of_each_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free = {0: 80 * 2**30, 1: 10 * 2**30, "cpu": 100 * 2**30}
    monkeypatch.setattr("taskdepth.models.dispatched.get_max_memory", lambda: dict(free))
    asked = {
        (None, None): None,
        (20.0, None): {0: 20 * 2**30, 1: 10 * 2**30, "cpu": 90 * 2**30},
        (None, 1.5): {0: 72 * 2**30, 1: 9 * 2**30, "cpu": 3 * 2**29},
    }
    for (gpu, cpu), expected in asked.items():
        assert Parts("auto", tmp_path, gpu, cpu).options()["max_memory"] == expected
