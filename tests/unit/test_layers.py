from __future__ import annotations

import pytest
import torch
import transformers
from torch import nn

from taskdepth import layers
from taskdepth.errors import ConfigError, ModelError

SMALL = {
    "num_hidden_layers": 3,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
}
ARCHITECTURES = [
    (transformers.LlamaConfig(**SMALL, num_key_value_heads=2), "model.layers"),
    (transformers.Qwen2Config(**SMALL, num_key_value_heads=2), "model.layers"),
    (transformers.Gemma2Config(**SMALL, num_key_value_heads=2, head_dim=8), "model.layers"),
    (transformers.GPTNeoXConfig(**SMALL), "gpt_neox.layers"),
    (transformers.GPT2Config(n_layer=3, n_embd=16, n_head=2, vocab_size=50), "transformer.h"),
    (
        transformers.OPTConfig(**{**SMALL, "word_embed_proj_dim": 16, "ffn_dim": 32}),
        "model.decoder.layers",
    ),
    (
        transformers.MixtralConfig(**SMALL, num_key_value_heads=2, num_local_experts=3),
        "model.layers",
    ),
]


@pytest.mark.parametrize(
    ("architecture", "path"), ARCHITECTURES, ids=[c.model_type for c, _ in ARCHITECTURES]
)
def test_blocks_are_found_by_structure(
    architecture: transformers.PretrainedConfig, path: str
) -> None:
    model = transformers.AutoModelForCausalLM.from_config(architecture)
    assert layers.n_blocks(model) == 3
    assert layers.blocks_path(model) == path
    assert layers.find_blocks(model) is model.get_submodule(path)
    assert layers.n_blocks(model.base_model) == 3


class TwoTowers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.config = transformers.LlamaConfig(**SMALL, num_key_value_heads=2)
        self.left = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
        self.right = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))


def test_two_block_lists_are_an_error_that_names_them() -> None:
    with pytest.raises(ModelError, match="found left, right"):
        layers.find_blocks(TwoTowers())


def test_a_model_without_blocks_is_an_error() -> None:
    with pytest.raises(ModelError, match="found none"):
        layers.find_blocks(nn.Sequential(nn.Linear(2, 2)))


@pytest.mark.parametrize(
    ("blocks", "n_blocks", "expected"),
    [
        ([0], 1, (0,)),
        ([2, 0], 3, (0, 2)),
        (range(3), 3, (0, 1, 2)),
        ([], 3, "no block is chosen"),
        ([1, 1], 3, "named twice: \\[1, 1\\]"),
        ([3], 3, r"blocks \[3\] do not exist: the model has blocks 0 to 2"),
        ([-1, 5], 3, r"blocks \[-1, 5\] do not exist"),
    ],
)
def test_check_blocks(blocks: list[int], n_blocks: int, expected: tuple[int, ...] | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(ConfigError, match=expected):
            layers.check_blocks(blocks, n_blocks)
    else:
        assert layers.check_blocks(blocks, n_blocks) == expected


def test_depth_and_block_are_inverse() -> None:
    assert [layers.block_of(layers.depth_of(block)) for block in range(5)] == list(range(5))
    with pytest.raises(ConfigError, match="depth 0"):
        layers.block_of(0)


def test_depth_is_what_hugging_face_calls_hidden_state() -> None:
    """Depth d is hidden_states[d] for d < L, which fixes the convention against an outside source."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(ARCHITECTURES[0][0]).eval()
    ids = torch.tensor([[1, 2, 3]])
    states = model(ids, output_hidden_states=True).hidden_states
    kept = {}
    block = layers.find_blocks(model)[layers.block_of(2)]
    handle = block.register_forward_hook(lambda m, a, out: kept.update(out=out))
    model(ids)
    handle.remove()
    out = kept["out"][0] if isinstance(kept["out"], tuple) else kept["out"]
    torch.testing.assert_close(out, states[2])
