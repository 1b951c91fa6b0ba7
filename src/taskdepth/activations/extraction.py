"""Extract: run a model over prompts and keep the pooled state of the depths that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from taskdepth import layers
from taskdepth.activations.pooling import Places, Pooling, pool
from taskdepth.data.collate import best_fit_decreasing, pad, token_batches
from taskdepth.models.packing import packed

# a batch of this many tokens keeps a processor busy without leaving its cache
BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}

Reduce = Callable[[Tensor], Any]


class _DeepEnoughError(Exception):
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
def _up_to(lm: nn.Module, depth: int) -> Iterator[None]:
    """Inside, a forward pass ends with `_DeepEnoughError` once `depth` is reached, if blocks are left above."""
    blocks = layers.find_blocks(lm)
    if depth == len(blocks):
        yield
        return

    def stop(*_: Any) -> None:
        raise _DeepEnoughError

    handle = blocks[depth].register_forward_pre_hook(stop)
    try:
        yield
    finally:
        handle.remove()


@torch.inference_mode()
def extract(
    lm: nn.Module,
    prompts: Sequence[Sequence[int]],
    *,
    poolings: Sequence[Pooling],
    depths: Sequence[int] | None = None,
    first_targets: Sequence[int] = (),
    batch_tokens: int | None = None,
    pack: bool = False,
    padding_side: str = "right",
    final_norm: str = "pre",
    advance: Callable[[int], object] = lambda n_rows: None,
) -> Mapping[Pooling, Float[Tensor, "n_depths n d_model"]]:
    """The pooled states of `depths` (None: all) for `prompts` (token ids), in their order.

    They come as float32 on the CPU. The LM head does not run, and no block above the highest depth.
    `first_targets` is the first target token of each prompt, for that pooling. `pack` puts prompts side by
    side instead of padding them (`lm` must allow it: `models.packing.can_pack`). `final_norm="post"`
    takes depth L after the final norm, as Hugging Face's `hidden_states[-1]` and the paper do. `advance`
    is told how many rows each batch finished. `lm` must be in eval mode; it is not changed.
    """
    backbone = _backbone(lm)
    n_blocks = layers.n_blocks(backbone)
    wanted = list(range(n_blocks + 1) if depths is None else depths)
    read_target = Pooling.FIRST_TARGET in poolings
    sequences = [
        [*prompt, first_targets[i]] if read_target else prompt for i, prompt in enumerate(prompts)
    ]
    kept = {
        p: torch.empty(len(wanted), len(prompts), backbone.config.hidden_size) for p in poolings
    }
    with ExitStack() as inside:
        batches = _Batches(sequences, [len(prompt) for prompt in prompts], padding_side, pack)
        device = next(backbone.parameters()).device

        def reduce(states: Tensor) -> dict[Pooling, Tensor]:
            return {pooling: pool(states, places, pooling) for pooling in poolings}

        seen = inside.enter_context(each_depth(backbone, reduce, wanted))
        inside.enter_context(_up_to(backbone, max(wanted)))
        inside.enter_context(packed(lm) if pack else nullcontext())
        budget = batch_tokens or BATCH_TOKENS.get(device.type, BATCH_TOKENS["cuda"])
        for rows in batches.order(budget):
            inputs, places = batches.inputs(rows, device)
            try:
                output = backbone(**inputs, use_cache=False)
                if final_norm == "post" and n_blocks in wanted:
                    seen[n_blocks] = reduce(output.last_hidden_state)
            except _DeepEnoughError:
                pass
            for pooling in poolings:
                pooled = torch.stack([seen[depth][pooling] for depth in wanted])
                kept[pooling][:, rows] = pooled.cpu()
            advance(len(rows))
    return kept


class _Batches:
    """Sequences as batches, packed or padded, and where their prompts are."""

    def __init__(
        self,
        sequences: Sequence[Sequence[int]],
        prompt_tokens: Sequence[int],
        padding_side: str,
        pack: bool,
    ) -> None:
        self._sequences = sequences
        self._prompt_tokens = prompt_tokens
        self._side = padding_side
        self._pack = pack

    def order(self, batch_tokens: int) -> list[list[int]]:
        lengths = [len(sequence) for sequence in self._sequences]
        if self._pack:
            return best_fit_decreasing(lengths, batch_tokens)
        return token_batches(lengths, batch_tokens)

    def inputs(self, rows: Sequence[int], device: torch.device) -> tuple[dict[str, Any], Places]:
        sequences = [self._sequences[i] for i in rows]
        lengths = [len(sequence) for sequence in sequences]
        prompt_tokens = [self._prompt_tokens[i] for i in rows]
        if self._pack:
            starts = [0, *torch.tensor(lengths).cumsum(0).tolist()[:-1]]
            inputs: dict[str, Any] = {
                "input_ids": torch.tensor([[token for s in sequences for token in s]]),
                "position_ids": torch.cat([torch.arange(n) for n in lengths]).unsqueeze(0),
            }
        else:
            ids, mask = pad(sequences, self._side)
            starts = [
                row * ids.shape[1] + (0 if self._side == "right" else ids.shape[1] - n)
                for row, n in enumerate(lengths)
            ]
            # left padding shifts no position
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
            inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
        if self._pack:
            inputs["lengths_tokens"] = tuple(lengths)
        return inputs, Places.of(starts, prompt_tokens, lengths).to(device)


def _backbone(lm: Any) -> Any:
    """The model without its LM head, with whatever adapter it wears."""
    inner = lm.get_base_model() if hasattr(lm, "get_base_model") else lm
    return inner.base_model
