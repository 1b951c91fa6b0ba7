"""Packing: examples side by side in one row, each attending to itself alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface
from transformers.utils import logging

from taskdepth.errors import ModelError
from taskdepth.models.dispatched import device_of_inputs

NAME = "taskdepth_packed"
_SELF_TEST_TOKENS = (3, 5, 2, 3)  # of the first, of the second, that the third shares, its own


@dataclass(frozen=True, slots=True, eq=False)
class Continued:
    """A packed example that goes on from what it has in common with an earlier one.

    `places` are those in the row of all its tokens, first to last; only the last ones are its own.
    """

    places: Int[Tensor, " n_tokens"]
    _masks: dict[tuple[int | None, torch.dtype], Tensor] = field(default_factory=dict)
    _elsewhere: dict[torch.device, Continued] = field(default_factory=dict)

    def to(self, device: torch.device | str | int | None) -> Continued:
        """The same on `device`, as accelerate asks of it block by block; made once for all blocks there."""
        if device is None or torch.device(device) == self.places.device:
            return self
        there = torch.device(device)
        if there not in self._elsewhere:
            self._elsewhere[there] = Continued(self.places.to(there))
        return self._elsewhere[there]

    def mask(
        self, n_own: int, window: int | None, dtype: torch.dtype
    ) -> Float[Tensor, "n_own n_tokens"]:
        """0 where its own tokens may look, -inf elsewhere; made once for all blocks."""
        key = (window, dtype)
        if key not in self._masks:
            seen = _seen(n_own, len(self.places), window, self.places.device)
            nowhere = torch.full(seen.shape, -torch.inf, dtype=dtype, device=seen.device)
            self._masks[key] = nowhere.masked_fill_(seen, 0)
        return self._masks[key]


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
    continued: Sequence[Continued | None] = (),
    **options: Any,
) -> tuple[Float[Tensor, "1 s heads d_head"], None]:
    """Causal attention within each of the examples that `lengths_tokens` cuts a row into.

    The cost is that of the examples, not of the row's square. Where one of them is `continued`, its length is
    that of its own tokens. The signature is that of Hugging Face's
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
    cut = (torch.split(states, list(lengths_tokens), dim=2) for states in (query, key, value))
    parts = []
    for q, k, v, whole in zip(*cut, continued or [None] * len(lengths_tokens), strict=True):
        n_own = q.shape[2]
        if whole is None:
            in_sight = sliding_window is None or n_own <= sliding_window
            mask = None if in_sight else _seen(n_own, n_own, sliding_window, q.device)
        elif n_own == 0:  # the same as an earlier example
            parts.append(q)
            continue
        else:
            k, v = (states.index_select(2, whole.places) for states in (key, value))
            mask = whole.mask(n_own, sliding_window, q.dtype)
        found = functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=dropout if module.training else 0.0,
            is_causal=mask is None,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        parts.append(found)
    return torch.cat(parts, dim=2).transpose(1, 2).to(wanted).contiguous(), None


def _seen(n_own: int, n_tokens: int, window: int | None, device: torch.device) -> Tensor:
    """True where the last `n_own` of `n_tokens` may look: at themselves and the `window - 1` before them."""
    ahead = torch.ones(n_own, n_tokens, dtype=torch.bool, device=device)
    before = n_tokens - n_own
    seen = ahead.tril(before)
    return seen if window is None else seen & ahead.triu(before + 1 - window)


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
    """Whether `lm` keeps packed examples apart: seen by trying it on three short ones.

    A model that does not go through Hugging Face's attention interface, or adds something of its own to it,
    gives other logits for one of them than for the same example alone.
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
    """Three examples in a row: the second has nothing of the first, the third begins as the second does."""
    device = device_of_inputs(lm)
    first, second, shared, own = _SELF_TEST_TOKENS
    tokens = torch.arange(1, 1 + first + second + own, device=device).unsqueeze(0)
    third = [*range(first, first + shared), *range(first + second, first + second + own)]
    places = torch.tensor(third, device=device)

    def logits(ids: Tensor, position_ids: Tensor, **how: Any) -> Tensor:
        output = lm(input_ids=ids, position_ids=position_ids.unsqueeze(0), use_cache=False, **how)
        found: Tensor = output.logits[0].float()
        return found

    def positions(*lengths: int) -> Tensor:
        return torch.cat([torch.arange(n, device=device) for n in lengths])

    together = logits(
        tokens,
        torch.cat([positions(first, second), positions(shared + own)[shared:]]),
        lengths_tokens=(first, second, own),
        continued=(None, None, Continued(places)),
    )[first:]
    middle = logits(tokens[:, first:-own], positions(second), lengths_tokens=(second,))
    last = logits(tokens[:, third], positions(shared + own), lengths_tokens=(shared + own,))
    alone = torch.cat([middle, last[shared:]])
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
