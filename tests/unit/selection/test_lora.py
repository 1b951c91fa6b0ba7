from dataclasses import replace
from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

import taskdepth
from taskdepth.errors import ConfigError, ResultsError
from taskdepth.models import adapters
from taskdepth.selection import LayerSelection, select

SELECTION = select("manual", 4, "tiny", blocks=[3, 1])


def test_config_is_for_the_chosen_blocks_alone() -> None:
    config = SELECTION.to_lora_config(
        r=2, lora_alpha=6, lora_dropout=0.1, target_modules=["q_proj"]
    )
    assert isinstance(config, LoraConfig)
    found = (config.r, config.lora_alpha, config.lora_dropout, config.layers_to_transform)
    assert found == (2, 6, 0.1, [1, 3])
    assert config.target_modules == {"q_proj"}
    assert config.task_type == "CAUSAL_LM"


def tiny_model() -> LlamaForCausalLM:
    sizes = {"hidden_size": 8, "intermediate_size": 16, "vocab_size": 11}
    shape = {"num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**sizes, **shape))


@pytest.mark.parametrize("ranks", [{1: 3, 3: 5}, {1: 5, 3: 3}, {1: 4, 3: 4}])
def test_ranks_of_the_selection_are_those_of_the_adapter(ranks: dict[int, int]) -> None:
    selection = replace(SELECTION, rank_pattern=ranks)
    model = get_peft_model(tiny_model(), selection.to_lora_config(target_modules=["q_proj"]))
    found = {b: model.base_model.model.model.layers[b].self_attn.q_proj for b in ranks}
    assert {b: layer.r["default"] for b, layer in found.items()} == ranks
    assert {layer.scaling["default"] for layer in found.values()} == {2.0}
    assert adapters.adapted_blocks(model) == (1, 3)
    with pytest.raises(ConfigError, match="use_rslora"):
        selection.to_lora_config(use_rslora=True)


@pytest.mark.parametrize("modules", [None, ["q_proj", "down_proj"]])
def test_peft_adapts_exactly_those_blocks(modules: list[str] | None) -> None:
    model = get_peft_model(tiny_model(), SELECTION.to_lora_config(r=2, target_modules=modules))
    assert adapters.adapted_blocks(model) == (1, 3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target_modules": "all-linear"}, "name the modules in a list"),
        ({"layers_to_transform": [0]}, "layers_to_transform: the selection says that"),
        ({"layers_pattern": "h"}, "layers_pattern: the selection says that"),
        ({"rank_pattern": {}}, "rank_pattern: the selection says that"),
        ({"rank": 8}, "LoraConfig refuses: .*rank"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        SELECTION.to_lora_config(**settings)
    assert "\n" not in str(error.value)


def test_a_selection_is_loaded_from_its_file_or_its_run(tmp_path: Path) -> None:
    SELECTION.write(tmp_path / "selection.yaml")
    for path in (tmp_path, str(tmp_path), tmp_path / "selection.yaml"):
        assert taskdepth.load_selection(path) == SELECTION
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultsError, match="no layer selection at"):
        taskdepth.load_selection(tmp_path / "empty")


def test_the_package_offers_what_it_says() -> None:
    assert taskdepth.LayerSelection is LayerSelection
    assert all(getattr(taskdepth, name) for name in taskdepth.__all__)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        taskdepth.nothing_like_it  # noqa: B018
