"""Extract: run a model over prompts and keep the pooled state of every depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from taskdepth import layers
from taskdepth.activations.pooling import Pooling, pool
from taskdepth.data.collate import pad, token_batches

Reduce = Callable[[Tensor], Any]


@contextmanager
def each_depth(lm: nn.Module, reduce: Reduce) -> Iterator[dict[int, Any]]:
    """Inside, every forward pass leaves `reduce(states)` of each depth 0..L in the yielded dict.

    Depth 0 is what enters the first block, depth d what block d - 1 returns, before the final norm. Only
    what `reduce` returns is kept, never `[b, s, d_model]`.
    """
    seen: dict[int, Any] = {}
    blocks = layers.find_blocks(lm)

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen[0] = reduce(args[0] if args else kwargs["hidden_states"])

    def leave(depth: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            seen[depth] = reduce(output[0] if isinstance(output, tuple) else output)

        return hook

    with ExitStack() as hooks:
        handle = blocks[0].register_forward_pre_hook(enter, with_kwargs=True)
        hooks.callback(handle.remove)
        for block, module in enumerate(blocks):
            hooks.callback(module.register_forward_hook(leave(layers.depth_of(block))).remove)
        yield seen


@torch.inference_mode()
def extract(
    lm: nn.Module,
    prompts: Sequence[Sequence[int]],
    *,
    poolings: Sequence[Pooling],
    batch_tokens: int = 4096,
    padding_side: str = "right",
    final_norm: str = "pre",
    advance: Callable[[int], object] = lambda n_rows: None,
) -> Mapping[Pooling, Float[Tensor, "n_depths n d_model"]]:
    """The pooled states of every depth for `prompts` (token ids), in their order, as float32 on the CPU.

    The LM head does not run. `final_norm="post"` takes depth L after the final norm, as Hugging Face's
    `hidden_states[-1]` and the paper do. `advance` is told how many rows each batch finished. `lm` must be
    in eval mode; it is not changed.
    """
    backbone = _backbone(lm)
    device = next(backbone.parameters()).device
    n_depths = layers.n_blocks(backbone) + 1
    d_model = backbone.config.hidden_size
    kept = {p: torch.empty(n_depths, len(prompts), d_model) for p in poolings}
    mask = torch.empty(0)

    def reduce(states: Tensor) -> dict[Pooling, Tensor]:
        return {pooling: pool(states, mask, pooling) for pooling in poolings}

    with each_depth(backbone, reduce) as seen:
        for rows in token_batches([len(prompt) for prompt in prompts], batch_tokens):
            ids, mask = (t.to(device) for t in pad([prompts[i] for i in rows], padding_side))
            output = backbone(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(dim=1) - 1).clamp(
                    min=0
                ),  # left padding shifts no position
                use_cache=False,
            )
            if final_norm == "post":
                seen[n_depths - 1] = reduce(output.last_hidden_state)
            for pooling in poolings:
                pooled = torch.stack([seen[depth][pooling] for depth in range(n_depths)])
                kept[pooling][:, rows] = pooled.cpu()
            advance(len(rows))
    return kept


def _backbone(lm: Any) -> Any:
    """The model without its LM head, with whatever adapter it wears."""
    inner = lm.get_base_model() if hasattr(lm, "get_base_model") else lm
    return inner.base_model
