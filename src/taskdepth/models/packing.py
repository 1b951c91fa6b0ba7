"""Packing: examples side by side in one row, each attending to itself alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface
from transformers.utils import logging

from taskdepth.errors import ModelError

NAME = "taskdepth_packed"
_SELF_TEST_TOKENS = (3, 5)


def packed_attention(
    module: nn.Module,
    query: Float[Tensor, "1 heads s d_head"],
    key: Float[Tensor, "1 kv_heads s d_head"],
    value: Float[Tensor, "1 kv_heads s d_head"],
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    lengths_tokens: tuple[int, ...] = (),
    **options: Any,
) -> tuple[Float[Tensor, "1 s heads d_head"], None]:
    """Causal attention within each of the examples that `lengths_tokens` cuts a row into.

    The cost is that of the examples, not of the row's square. The signature is that of Hugging Face's
    attention interface.

    Raises:
        ModelError: the model calls attention in a way that this does not know.
    """
    unknown = [
        name for name in ("softcap", "s_aux", "position_bias") if options.get(name) is not None
    ]
    if sum(lengths_tokens) != query.shape[2] or attention_mask is not None or unknown:
        raise ModelError(f"attention of {type(module).__name__} cannot be packed {unknown}")
    wanted = query.dtype
    if query.device.type == "cpu" and wanted != torch.float32:
        # the backward pass of half-precision attention is less than half as fast here, and less exact
        query, key, value = query.float(), key.float(), value.float()
    parts = [
        functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=_window(q.shape[2], sliding_window, q.device),
            dropout_p=dropout if module.training else 0.0,
            is_causal=sliding_window is None or q.shape[2] <= sliding_window,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        for q, k, v in zip(
            *(torch.split(states, list(lengths_tokens), dim=2) for states in (query, key, value)),
            strict=True,
        )
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).to(wanted).contiguous(), None


def _window(n_tokens: int, window: int | None, device: torch.device) -> Tensor | None:
    """True where a token may look: at itself and the `window - 1` before it."""
    if window is None or n_tokens <= window:
        return None
    ahead = torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=device)
    return ahead.tril() & ahead.triu(1 - window)


# its name has no mask function, so models make no mask for it
AttentionInterface.register(NAME, packed_attention)


@contextmanager
def packed(lm: Any) -> Iterator[None]:
    """Inside, `lm` takes packed rows, and only these: with `position_ids` and `lengths_tokens`."""
    before = lm.config._attn_implementation
    lm.set_attn_implementation(NAME)
    try:
        yield
    finally:
        lm.set_attn_implementation(before)


@torch.no_grad()
def can_pack(lm: Any) -> bool:
    """Whether `lm` keeps packed examples apart: seen by trying it on two short ones.

    A model that does not go through Hugging Face's attention interface, or adds something of its own to it,
    gives other logits for the second example than for the same example alone.
    """
    was_training = lm.training
    lm.eval()
    try:
        with _quiet(), packed(lm):
            return bool(lm.config._attn_implementation == NAME) and _keeps_apart(lm)
    except (ModelError, TypeError, ValueError):
        return False
    finally:
        lm.train(was_training)


def _keeps_apart(lm: Any) -> bool:
    device = lm.get_input_embeddings().weight.device
    first, second = _SELF_TEST_TOKENS
    ids = torch.arange(1, 1 + first + second, device=device).unsqueeze(0)

    def logits(ids: Tensor, lengths: tuple[int, ...]) -> Tensor:
        position_ids = torch.cat([torch.arange(n, device=device) for n in lengths]).unsqueeze(0)
        output = lm(
            input_ids=ids, position_ids=position_ids, lengths_tokens=lengths, use_cache=False
        )
        found: Tensor = output.logits[0, -second:].float()
        return found

    alone, together = logits(ids[:, first:], (second,)), logits(ids, (first, second))
    # rounding stays below the root of the precision, another example's influence does not
    tolerance = torch.finfo(lm.dtype).eps ** 0.5 * alone.abs().max()
    return bool((alone - together).abs().max() <= tolerance)


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, transformers does not warn that a model has no such attention: that is what is asked."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
