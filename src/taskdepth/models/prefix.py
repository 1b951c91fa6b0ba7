"""The blocks below a model's lowest adapted one: run once, and not again for each adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from taskdepth import layers
from taskdepth.models.dispatched import device_of_inputs

_SELF_TEST_TOKENS = 4


@contextmanager
def recorded(lm: nn.Module, first_blocks: Sequence[int]) -> Iterator[dict[int, Any]]:
    """Inside, every forward pass leaves in the yielded dict what enters each of `first_blocks`.

    That is the output of the block below, as it comes: a tensor or a tuple. Block 0 has none below.
    """
    seen: dict[int, Any] = {}
    blocks = layers.find_blocks(lm)

    def leave(first: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            seen[first] = output

        return hook

    with ExitStack() as hooks:
        for first in first_blocks:
            hooks.callback(blocks[first - 1].register_forward_hook(leave(first)).remove)
        yield seen


@contextmanager
def resumed(lm: nn.Module, first_block: int, output: Any) -> Iterator[None]:
    """Inside, a forward pass computes nothing below `first_block`, which gets the recorded `output`.

    The rest of the model runs as ever, so that masks and positions are its own affair.
    """
    below = list(layers.find_blocks(lm))[:first_block]
    rest = output[1:] if isinstance(output, tuple) else None

    def pass_on(*args: Any, **kwargs: Any) -> Any:
        states = args[0] if args else kwargs["hidden_states"]
        return states if rest is None else (states, *rest)

    with ExitStack() as patches:
        for block in below[:-1]:
            patches.enter_context(_forward(block, pass_on))
        if below:
            patches.enter_context(_forward(below[-1], lambda *_, **__: output))
        yield


@contextmanager
def _forward(block: nn.Module, instead: Callable[..., Any]) -> Iterator[None]:
    own = vars(block).get("forward")  # what another library may have put there
    block.forward = instead
    try:
        yield
    finally:
        del block.forward
        if own is not None:
            block.forward = own


@torch.no_grad()
def can_resume(lm: Any) -> bool:
    """Whether `lm` computes the same from a recorded prefix, bit for bit: seen by trying it."""
    n_blocks = layers.n_blocks(lm)
    if n_blocks < 2:
        return False
    ids = torch.arange(1, 1 + _SELF_TEST_TOKENS, device=device_of_inputs(lm)).unsqueeze(0)
    first = n_blocks // 2
    was_training = lm.training
    lm.eval()
    try:
        with recorded(lm, [first]) as seen:
            whole = lm(input_ids=ids, use_cache=False).logits
        with resumed(lm, first, seen[first]):
            return torch.equal(whole, lm(input_ids=ids, use_cache=False).logits)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return False  # its blocks hand on something else than states
    finally:
        lm.train(was_training)
