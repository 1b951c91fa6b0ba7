"""The tiny model that every test may use."""

from __future__ import annotations

import torch
import transformers

from taskdepth.models.loading import LanguageModel, build

TEXTS = [
    "The film was good. The film was bad. A dog runs to the house, and a cat sleeps in the garden.",
    "Is it true? yes no maybe Options: yes, no Answer: positive negative",
]


def tiny_llama(n_blocks: int = 4, seed: int = 0) -> LanguageModel:
    """A random Llama with its own tokenizer: 32 wide, a window of 128 tokens."""
    torch.manual_seed(seed)
    architecture = transformers.LlamaConfig(
        num_hidden_layers=n_blocks,
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        initializer_range=0.2,  # wide enough that depths and rows really differ
    )
    model = build(architecture, TEXTS, tokenizer_size=300)
    model.lm.eval()
    return model
