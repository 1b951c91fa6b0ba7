"""Extract: run models over prompts and keep the pooled state of the depths that are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from taskdepth import layers
from taskdepth.activations.batches import Batches
from taskdepth.activations.capture import DeepEnoughError, each_depth, up_to
from taskdepth.activations.pooling import Pooling, pool
from taskdepth.errors import ModelError
from taskdepth.models.dispatched import device_of_inputs
from taskdepth.models.packing import packed
from taskdepth.models.prefix import recorded, resumed

# a batch of this many tokens keeps a processor busy without leaving its cache
BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}
# of prefixes held until every adapter has gone on from them: it is put on once for each such lot
PREFIX_BYTES = 2**30

States = Mapping[Pooling, Float[Tensor, "n_depths n d_model"]]
Advance = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Adapted:
    """The model with an adapter: `wear` puts it on, and blocks below `first_block` are as they were."""

    wear: Callable[[], AbstractContextManager[Any]]
    first_block: int


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
    advance: Advance = lambda n_rows: None,
) -> States:
    """The pooled states of `depths` (None: all) for `prompts` (token ids), in their order.

    They come as float32 on the CPU. The LM head does not run, and no block above the highest depth.
    `first_targets` is the first target token of each prompt, for that pooling. `pack` puts prompts side by
    side instead of padding them (`lm` must allow it: `models.packing.can_pack`). `final_norm="post"`
    takes depth L after the final norm, as Hugging Face's `hidden_states[-1]` and the paper do. `advance`
    is told how many rows each batch finished. `lm` must be in eval mode; it is not changed.
    """
    (found,) = extract_each(
        lm,
        (),
        prompts,
        poolings=poolings,
        depths=depths,
        first_targets=first_targets,
        batch_tokens=batch_tokens,
        pack=pack,
        padding_side=padding_side,
        final_norm=final_norm,
        advance=advance,
    )
    return found


def extract_each(
    lm: nn.Module,
    adapted: Sequence[Adapted],
    prompts: Sequence[Sequence[int]],
    *,
    itself: bool = True,
    poolings: Sequence[Pooling],
    depths: Sequence[int] | None = None,
    first_targets: Sequence[int] = (),
    batch_tokens: int | None = None,
    pack: bool = False,
    padding_side: str = "right",
    final_norm: str = "pre",
    advance: Advance = lambda n_rows: None,
    halved: Advance = lambda n_tokens: None,
) -> list[States]:
    """The states of `lm` itself (if `itself`), then of each of `adapted`, all on the same prompts.

    What lies below an adapter's first block is computed once, by `lm`, and the same bit for bit as if the
    adapted model had done it. Where memory does not suffice batches get half as many tokens, as often as need
    be; `halved` is told how many. For all else see `extract`.

    Raises:
        ModelError: memory does not suffice for a single prompt.
    """
    backbone = _backbone(lm)
    wanted = list(range(layers.n_blocks(backbone) + 1) if depths is None else depths)
    read_target = Pooling.FIRST_TARGET in poolings
    sequences = [
        [*prompt, first_targets[i]] if read_target else prompt for i, prompt in enumerate(prompts)
    ]
    prompt_tokens = [len(prompt) for prompt in prompts]
    batches = Batches(sequences, prompt_tokens, padding_side=padding_side, pack=pack)
    reader = _Reader(backbone, batches, wanted, poolings, final_norm, advance)
    device = reader.device
    budget = batch_tokens or BATCH_TOKENS.get(device.type, BATCH_TOKENS["cuda"])
    firsts = sorted({one.first_block for one in adapted} - {0})
    own = reader.empty(len(prompts))
    others = [reader.empty(len(prompts)) for _ in adapted]
    held_bytes = PREFIX_BYTES
    token_bytes = len(firsts) * backbone.config.hidden_size * 4
    waiting = deque(_lots(batches.order(budget), batches, token_bytes, held_bytes))
    while waiting:
        lot = waiting.popleft()
        try:
            with packed(lm) if pack else nullcontext():
                prefixes = reader.read_itself(lot, own, firsts, only_shared=not itself)
                for one, kept in zip(adapted, others, strict=True):
                    with one.wear():
                        reader.read_adapted(lot, kept, own, one.first_block, prefixes)
        except RuntimeError as error:  # torch's own kind is one, too
            if not is_out_of_memory(error):
                raise
            budget = min(budget, max(map(batches.n_tokens, lot))) // 2
            held_bytes //= 2
            if all(len(rows) == 1 for rows in lot):
                longest = max(map(batches.n_tokens, lot))
                raise ModelError(f"out of memory with one prompt of {longest} tokens") from error
            halved(budget)
            rows = [row for other in (lot, *waiting) for batch in other for row in batch]
            order = batches.order(max(budget, 1), rows)
            waiting = deque(_lots(order, batches, token_bytes, held_bytes))
    found: list[States] = [*others]
    return [own, *found] if itself else found


@torch.no_grad()
def extract_tokens(
    lm: nn.Module,
    prompt: Sequence[int],
    *,
    depths: Sequence[int] | None = None,
    final_norm: str = "pre",
) -> Float[Tensor, "n_depths n_tokens d_model"]:
    """The states of every token of one prompt, not pooled: to look into a single example.

    They come as float32 on the CPU. `lm`, `depths` and `final_norm` are as in `extract`; of many prompts
    this would fill any memory, which is why no store keeps it.
    """
    backbone = _backbone(lm)
    n_blocks = layers.n_blocks(backbone)
    wanted = list(range(n_blocks + 1) if depths is None else depths)
    ids = torch.tensor([list(prompt)], device=device_of_inputs(backbone))
    with (
        each_depth(backbone, lambda states: states[0].float().cpu(), wanted) as seen,
        up_to(backbone, max(wanted)),
        suppress(DeepEnoughError),
    ):
        output = backbone(input_ids=ids, use_cache=False)
        if final_norm == "post" and n_blocks in wanted:
            seen[n_blocks] = output.last_hidden_state[0].float().cpu()
    return torch.stack([seen[depth] for depth in wanted])


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or the machine itself, had no memory left."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in said


def _lots(
    order: Sequence[list[int]], batches: Batches, bytes_per_token: int, limit_bytes: int
) -> Iterator[list[list[int]]]:
    """Batches one after the other, in lots whose prefixes fit `limit_bytes`."""
    lot: list[list[int]] = []
    held_bytes = 0
    for rows in order:
        needed_bytes = batches.n_tokens(rows) * bytes_per_token
        if lot and held_bytes + needed_bytes > limit_bytes:
            yield lot
            lot, held_bytes = [], 0
        lot.append(rows)
        held_bytes += needed_bytes
    if lot:
        yield lot


class _Reader:
    """Forward passes over batches; of each, the pooled states of some depths are kept."""

    def __init__(
        self,
        backbone: Any,
        batches: Batches,
        wanted: Sequence[int],
        poolings: Sequence[Pooling],
        final_norm: str,
        advance: Advance,
    ) -> None:
        self.device = device_of_inputs(backbone)
        self._backbone = backbone
        self._n_blocks = layers.n_blocks(backbone)
        self._batches = batches
        self._wanted = wanted
        self._poolings = poolings
        self._final_norm = final_norm
        self._advance = advance

    def empty(self, n_rows: int) -> dict[Pooling, Tensor]:
        shape = len(self._wanted), n_rows, self._backbone.config.hidden_size
        return {pooling: torch.empty(shape) for pooling in self._poolings}

    def read_itself(
        self,
        lot: Sequence[list[int]],
        found: dict[Pooling, Tensor],
        firsts: Sequence[int],
        *,
        only_shared: bool,
    ) -> list[dict[int, Any]]:
        """Read with the model as it is; returns what enters the blocks `firsts`, for each batch.

        `only_shared`: no deeper than that.
        """
        deepest = max(firsts, default=0) if only_shared else self._n_blocks
        depths = [depth for depth in self._wanted if depth <= deepest]
        if only_shared and not firsts:
            return [{} for _ in lot]
        prefixes = []
        with recorded(self._backbone, firsts) as entering:
            for rows in lot:
                self._read(rows, found, depths, up_to_depth=max((*depths, *firsts)))
                prefixes.append(dict(entering))
                if not only_shared:
                    self._advance(len(rows))
        return prefixes

    def read_adapted(
        self,
        lot: Sequence[list[int]],
        found: dict[Pooling, Tensor],
        own: Mapping[Pooling, Tensor],
        first: int,
        prefixes: Sequence[Mapping[int, Any]],
    ) -> None:
        """Read with the adapter that the model wears now, from block `first` on."""
        # block 0 has nothing below it, and the model itself may not have been read
        shared = [i for i, depth in enumerate(self._wanted) if first and depth <= first]
        depths = [depth for depth in self._wanted if not first or depth > first]
        for rows, prefix in zip(lot, prefixes, strict=True):
            for pooling in self._poolings:
                for i in shared:
                    found[pooling][i, rows] = own[pooling][i, rows]
            if depths:
                with resumed(self._backbone, first, prefix.get(first)):
                    self._read(rows, found, depths, up_to_depth=max(depths))
            self._advance(len(rows))

    @torch.inference_mode()
    def _read(
        self,
        rows: list[int],
        found: dict[Pooling, Tensor],
        depths: Sequence[int],
        up_to_depth: int,
    ) -> None:
        inputs, places = self._batches.inputs(rows, self.device)

        def reduce(states: Tensor) -> dict[Pooling, Tensor]:
            there = places.to(states.device)  # a model may lie on several
            return {
                pooling: pool(states, there, pooling).to(self.device) for pooling in self._poolings
            }

        with ExitStack() as inside:
            seen = inside.enter_context(each_depth(self._backbone, reduce, depths))
            inside.enter_context(up_to(self._backbone, up_to_depth))
            try:
                output = self._backbone(**inputs, use_cache=False)
                if self._final_norm == "post" and self._n_blocks in depths:
                    seen[self._n_blocks] = reduce(output.last_hidden_state)
            except DeepEnoughError:
                pass
        if not depths:
            return
        places_in_wanted = [self._wanted.index(depth) for depth in depths]
        for pooling in self._poolings:
            pooled = torch.stack([seen[depth][pooling] for depth in depths]).cpu()
            found[pooling][torch.tensor(places_in_wanted)[:, None], torch.tensor(rows)] = (
                pooled.float()
            )


def _backbone(lm: Any) -> Any:
    """The model without its LM head, with whatever adapter it wears."""
    inner = lm.get_base_model() if hasattr(lm, "get_base_model") else lm
    return inner.base_model
