"""What enters the lowest block that learns: computed once for each training row, and read from then on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from peft.tuners.tuners_utils import BaseTunerLayer
from rich.progress import track
from torch import Tensor, nn

from taskdepth import layers
from taskdepth.activations.capture import DeepEnoughError, up_to
from taskdepth.activations.extraction import BATCH_TOKENS
from taskdepth.data.collate import collate, token_batches
from taskdepth.data.token_rows import TokenRows
from taskdepth.models.prefix import can_resume, recorded, resumed
from taskdepth.types import LMBatch

_SELF_TEST_TOKENS = 16
_FREE_DISK_FACTOR = 1.25  # more than the states need, so that a run leaves room for its own results


class PrefixCache:
    """The states of all tokens of `rows` where they enter block `first_block` of a model.

    They lie in memory up to `limit_bytes`, else in a file of `folder` that is gone with the process. They
    are computed in batches of their own, so they do not depend on which rows a training batch, or a resumed
    run, begins with. `quiet`: filling shows no progress.
    """

    def __init__(
        self,
        rows: TokenRows,
        first_block: int,
        *,
        packed: bool,
        limit_bytes: int,
        folder: Path,
        quiet: bool = True,
    ) -> None:
        self.first_block = first_block
        self._rows = rows
        self._packed = packed
        self._limit_bytes = limit_bytes
        self._folder = folder
        self._quiet = quiet
        self._lengths = [rows.n_tokens(i) for i in range(len(rows))]
        self._starts = [0, *accumulate(self._lengths)]
        self._states: Float[Tensor, "n_tokens d_model"] | None = None

    @torch.no_grad()
    def fill(self, lm: Any) -> None:
        """Run every row through the blocks below, which must be frozen."""
        device = lm.get_input_embeddings().weight.device
        batches = token_batches(self._lengths, BATCH_TOKENS.get(device.type, BATCH_TOKENS["cuda"]))
        what = f"states that enter block {self.first_block}"
        for numbers in track(batches, what, transient=True, disable=self._quiet):
            tokens = [self._rows[i] for i in numbers]
            batch = collate(tokens, [0] * len(tokens), packed=self._packed).to(device)
            found = _entering(lm, self.first_block, batch)[batch.example >= 0]
            if self._states is None:
                self._states = self._empty(found)
            cut = torch.split(found.to(self._states.device), list(batch.lengths_tokens))
            for i, states in zip(numbers, cut, strict=True):
                self._states[self._starts[i] : self._starts[i + 1]] = states

    @contextmanager
    def reused(self, lm: nn.Module, batch: LMBatch) -> Iterator[None]:
        """Inside, `lm` may be run on `batch`, and computes nothing below the first block."""
        with resumed(lm, self.first_block, self.states(batch)):
            yield

    def states(self, batch: LMBatch) -> Float[Tensor, "rows s d_model"]:
        """What enters the first block for the rows of `batch`, where its tokens are."""
        if self._states is None:
            raise RuntimeError("fill() comes first")
        parts = [self._states[self._starts[i] : self._starts[i + 1]] for i in batch.rows]
        if batch.packed:
            found = torch.cat(parts).unsqueeze(0)
        else:  # what is padding is not looked at
            found = nn.utils.rnn.pad_sequence(parts, batch_first=True)
        return found.to(batch.input_ids.device, non_blocking=True)

    def _empty(self, like: Tensor) -> Float[Tensor, "n_tokens d_model"]:
        shape = self._starts[-1], like.shape[-1]
        if n_bytes(self._starts[-1], like.shape[-1], like.dtype) <= self._limit_bytes:
            return torch.empty(shape, dtype=like.dtype)
        path = self._folder / "prefix_states"
        self._folder.mkdir(parents=True, exist_ok=True)
        size = shape[0] * shape[1]
        states = torch.from_file(str(path), shared=True, size=size, dtype=like.dtype)
        path.unlink()  # mapped: it lives as long as the tensor does, and no kill leaves it behind
        return states.view(shape)


def n_bytes(n_tokens: int, d_model: int, dtype: torch.dtype) -> int:
    """What the states of so many tokens take.

    >>> n_bytes(10, 4, torch.bfloat16)
    80
    """
    return n_tokens * d_model * dtype.itemsize


def reusable_blocks(lm: Any) -> int:
    """How many of the lowest blocks give the same for a row in every step: nothing in them or below learns, and
    they have no dropout. 0 where the model cannot be resumed above them."""
    first = _first_learning(lm)
    if first < 1 or not can_resume(lm) or not is_constant(lm, first):
        return 0
    return first


def has_room_on_disk(n_needed_bytes: int, folder: Path) -> bool:
    """Whether a file of so many bytes leaves `folder` room for other things."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free > n_needed_bytes * _FREE_DISK_FACTOR


def _first_learning(lm: nn.Module) -> int:
    """The lowest block that learns or wears an adapter; 0 when something outside the blocks learns."""
    prefix = layers.blocks_path(lm) + "."
    learning = [name for name, parameter in lm.named_parameters() if parameter.requires_grad]
    adapted = [name for name, module in lm.named_modules() if isinstance(module, BaseTunerLayer)]
    if not all(name.startswith(prefix) for name in learning + adapted):
        return 0
    numbers = [int(name[len(prefix) :].split(".")[0]) for name in learning + adapted]
    return min(numbers, default=0)


@torch.no_grad()
def is_constant(lm: Any, first_block: int) -> bool:
    """Whether training mode gives the states of `first_block` that evaluation gives: no dropout below."""
    weight = lm.get_input_embeddings().weight
    ids = torch.arange(1, 1 + _SELF_TEST_TOKENS, device=weight.device) % len(weight)
    was_training = lm.training
    devices = [weight.device] if weight.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):  # trying leaves no trace in what comes
            found = []
            for training in (False, True):
                lm.train(training)
                with recorded(lm, [first_block]) as seen:
                    lm(input_ids=ids.unsqueeze(0), use_cache=False)
                found.append(seen[first_block])
    finally:
        lm.train(was_training)
    return isinstance(found[0], Tensor) and torch.equal(*found)


def _entering(lm: Any, first_block: int, batch: LMBatch) -> Float[Tensor, "rows s d_model"]:
    with recorded(lm, [first_block]) as seen, up_to(lm, first_block), suppress(DeepEnoughError):
        lm(**batch.inputs(), use_cache=False)
    states: Tensor = seen[first_block]
    return states
