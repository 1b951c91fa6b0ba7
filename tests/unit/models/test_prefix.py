from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn

from taskdepth import layers
from taskdepth.models.prefix import can_resume, recorded, resumed
from tiny import tiny_llama

COMMON = {
    "num_hidden_layers": 4,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "intermediate_size": 32,
}
FAMILIES = {
    "llama": transformers.LlamaConfig(**COMMON),
    "qwen3": transformers.Qwen3Config(**COMMON, num_key_value_heads=2, head_dim=8),
    # every other block attends to a window: masks differ between blocks
    "gemma3": transformers.Gemma3TextConfig(
        **COMMON, num_key_value_heads=2, head_dim=8, sliding_window=3, sliding_window_pattern=2
    ),
    "gpt2": transformers.GPT2Config(n_layer=4, n_embd=16, n_head=2, vocab_size=50),
    "gpt_neox": transformers.GPTNeoXConfig(**COMMON),
    "opt": transformers.OPTConfig(**COMMON, word_embed_proj_dim=16, ffn_dim=32),
}


def model(family: str) -> Any:
    torch.manual_seed(1)
    return transformers.AutoModelForCausalLM.from_config(FAMILIES[family]).eval()


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("first", [1, 2, 3])
def test_what_lies_below_does_not_run_and_what_comes_out_is_the_same(
    family: str, first: int
) -> None:
    lm = model(family)
    assert can_resume(lm)
    ids = torch.randint(0, 50, (2, 9))
    blocks = layers.find_blocks(lm)
    with recorded(lm, [first]) as seen:
        whole = lm(ids, use_cache=False).logits
    ran: list[int] = []
    for number, block in enumerate(blocks):
        inner = next(block.children())
        inner.register_forward_hook(lambda *_, number=number: ran.append(number))
    with resumed(lm, first, seen[first]):
        assert torch.equal(lm(ids, use_cache=False).logits, whole)
    assert set(ran) == set(range(first, 4))
    assert torch.equal(lm(ids, use_cache=False).logits, whole)
    assert set(ran) == set(range(4))
    assert not any("forward" in vars(block) for block in blocks)


def test_a_model_whose_blocks_remember_is_not_resumed() -> None:
    lm = tiny_llama().lm

    class Sum(nn.Module):
        """Adds what an earlier block has left behind."""

        def __init__(self, block: nn.Module, memory: dict[str, Any]) -> None:
            super().__init__()
            self.block, self.memory = block, memory

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            before = self.memory.get("state")
            states = self.block(*args, **kwargs)
            self.memory["state"] = states.mean()
            return states if before is None else states + before

    blocks, memory = layers.find_blocks(lm), {}
    for i in range(len(blocks)):
        blocks[i] = Sum(blocks[i], memory)
    assert not can_resume(lm)


def test_a_single_block_has_nothing_below() -> None:
    assert not can_resume(tiny_llama(n_blocks=1).lm)


def test_another_librarys_forward_stays() -> None:
    lm = tiny_llama().lm
    block = layers.find_blocks(lm)[0]
    own = block.forward
    block.forward = own
    assert can_resume(lm)
    assert vars(block)["forward"] is own
