"""Capture: hooks that leave what is wanted of each depth, and end a forward pass that is deep enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from taskdepth import layers

Reduce = Callable[[Tensor], Any]


class DeepEnoughError(Exception):
    """Leaves a forward pass when the last wanted depth is there: the blocks above need not run."""


@contextmanager
def each_depth(
    lm: nn.Module, reduce: Reduce, depths: Sequence[int] | None = None
) -> Iterator[dict[int, Any]]:
    """Inside, every forward pass leaves `reduce(states)` of each of `depths` in the yielded dict.

    Depth 0 is what enters the first block, depth d what block d - 1 returns, before the final norm; None
    means all of them. Only what `reduce` returns is kept, never `[b, s, d_model]`.
    """
    seen: dict[int, Any] = {}
    blocks = layers.find_blocks(lm)
    wanted = set(range(len(blocks) + 1) if depths is None else depths)

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen[0] = reduce(args[0] if args else kwargs["hidden_states"])

    def leave(depth: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            seen[depth] = reduce(output[0] if isinstance(output, tuple) else output)

        return hook

    with ExitStack() as hooks:
        if 0 in wanted:
            handle = blocks[0].register_forward_pre_hook(enter, with_kwargs=True)
            hooks.callback(handle.remove)
        for depth in sorted(wanted - {0}):
            block = blocks[layers.block_of(depth)]
            hooks.callback(block.register_forward_hook(leave(depth)).remove)
        yield seen


@contextmanager
def up_to(lm: nn.Module, depth: int) -> Iterator[None]:
    """Inside, a forward pass ends with `DeepEnoughError` at `depth`, if blocks are left above."""
    blocks = layers.find_blocks(lm)
    if depth == len(blocks):
        yield
        return

    def stop(*_: Any) -> None:
        raise DeepEnoughError

    handle = blocks[depth].register_forward_pre_hook(stop)
    try:
        yield
    finally:
        handle.remove()
