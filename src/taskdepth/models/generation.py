"""Greedy generation, many prompts at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from taskdepth.data.collate import pad, token_batches


@torch.no_grad()
def generate(
    lm: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch_tokens: int = 4096,
) -> list[str]:
    """What `lm` answers to each of `prompts` (token ids), up to its end token, without space around it.

    Prompts of similar length go together, padded on the left, so that all continue at the same place and
    share a cache; `batch_tokens` limits what prompts and answers of a batch may come to.
    """
    was_training = lm.training
    lm.eval()
    device = lm.get_input_embeddings().weight.device
    answers = [""] * len(prompts)
    rooms = [len(prompt) + max_new_tokens for prompt in prompts]
    end = tokenizer.eos_token_id
    for batch in token_batches(rooms, batch_tokens):
        ids, mask = pad([prompts[i] for i in batch], side="left")
        out = lm.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            # a model's own generation config may ask for sampling, and would be told about here
            temperature=None,
            top_p=None,
            top_k=None,
            eos_token_id=end,
            pad_token_id=end,
        )
        texts = tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
        for i, text in zip(batch, texts, strict=True):
            answers[i] = text.strip()
    lm.train(was_training)
    return answers
