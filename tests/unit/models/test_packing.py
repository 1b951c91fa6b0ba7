from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from taskdepth.data.collate import collate
from taskdepth.data.tokenise import TokenisedRow
from taskdepth.models.packing import can_pack, packed
from taskdepth.models.targets import score_targets
from taskdepth.types import LMBatch

SMALL = {
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
PACKABLE: list[Any] = [
    transformers.LlamaConfig(**SMALL),
    transformers.MistralConfig(**SMALL, sliding_window=4),
    transformers.Qwen2Config(**SMALL),
    transformers.Qwen3Config(**SMALL),
    transformers.Gemma3TextConfig(**SMALL, sliding_window=4),
    transformers.GPTNeoXConfig(**SMALL),
    transformers.OPTConfig(
        vocab_size=99,
        hidden_size=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        word_embed_proj_dim=32,
    ),
    transformers.GPT2Config(
        vocab_size=99, n_embd=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=1
    ),
]
UNPACKABLE: list[Any] = [
    transformers.Gemma2Config(**SMALL),  # caps its attention scores
    transformers.BloomConfig(vocab_size=99, hidden_size=32, n_layer=2, n_head=4),  # own attention
    transformers.MambaConfig(vocab_size=99, hidden_size=32, num_hidden_layers=2, state_size=4),
]
LENGTHS = (6, 1, 9, 12)


def built(config: Any) -> Any:
    torch.manual_seed(0)
    # dropout would differ between the two ways
    for name in ("attn_pdrop", "embd_pdrop", "resid_pdrop", "dropout"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def rows() -> list[TokenisedRow]:
    generator = torch.Generator().manual_seed(1)
    return [
        TokenisedRow(str(i), "t", tuple(torch.randint(99, (n,), generator=generator).tolist()), 1)
        for i, n in enumerate(LENGTHS)
    ]


def batch(pack: bool) -> LMBatch:
    return collate(rows(), [0] * len(LENGTHS), packed=pack)


def family(config: Any) -> str:
    return str(config.model_type)


@pytest.mark.parametrize("config", PACKABLE, ids=family)
def test_packed_logits_are_those_of_the_example_alone(config: Any) -> None:
    lm = built(config)
    assert can_pack(lm)
    with packed(lm), torch.no_grad():
        together = lm(**batch(pack=True).inputs(), use_cache=False).logits[0]
    for row, logits in zip(rows(), together.split(LENGTHS), strict=True):
        with torch.no_grad():
            alone = lm(input_ids=torch.tensor([row.input_ids]), use_cache=False).logits[0]
        torch.testing.assert_close(logits, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", PACKABLE, ids=family)
def test_packed_gradients_are_those_of_the_padded_batch(config: Any) -> None:
    lm = built(config).train()
    gradients = []
    for pack in (False, True):
        lm.zero_grad()
        given = batch(pack)
        if pack:
            with packed(lm):
                score_targets(lm, given).loss.mean().backward()
        else:
            score_targets(lm, given).loss.mean().backward()
        gradients.append(
            {n: p.grad.clone() for n, p in lm.named_parameters() if p.grad is not None}
        )
    assert gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("config", UNPACKABLE, ids=family)
def test_what_cannot_be_packed_is_found_out_and_left_as_it_was(config: Any) -> None:
    lm = built(config)
    before = lm.config._attn_implementation
    assert not can_pack(lm)
    assert lm.config._attn_implementation == before
    assert not lm.training


def test_gradient_checkpointing_sees_the_same_examples() -> None:
    lm = built(PACKABLE[0]).train()
    with packed(lm):
        plain = torch.autograd.grad(score_targets(lm, batch(True)).loss.mean(), lm.lm_head.weight)
    lm.activation_checkpointing_enable({"use_reentrant": False})
    with packed(lm):
        loss = score_targets(lm, batch(True)).loss.mean()
    again = torch.autograd.grad(loss, lm.lm_head.weight)  # computed anew, outside of packed
    torch.testing.assert_close(plain, again)


def test_half_precision_is_close_to_single() -> None:
    lm = built(PACKABLE[0])
    with packed(lm), torch.no_grad():
        single = lm(**batch(pack=True).inputs(), use_cache=False).logits
        half = lm.bfloat16()(**batch(pack=True).inputs(), use_cache=False).logits
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), single, rtol=0, atol=0.02)
