"""`MemoryStore`: extracted states that never touch the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth.activations.pooling import Pooling
from taskdepth.activations.recording import row_ranges
from taskdepth.activations.shard import not_finite
from taskdepth.activations.store import SHARD_ROWS
from taskdepth.activations.stored import Activations
from taskdepth.errors import ResultsError


class HeldActivations:
    """States of `example_ids` in memory, to be read in parts as those on disk are."""

    def __init__(
        self,
        example_ids: Sequence[str],
        depths: Sequence[int],
        states: Mapping[Pooling, Float[Tensor, "n_depths n d_model"]],
    ) -> None:
        self.example_ids = tuple(example_ids)
        self.depths = tuple(depths)
        self._states = states

    @cached_property
    def not_finite(self) -> frozenset[int]:
        """The rows with a state that is no number, at any depth."""
        return frozenset(not_finite(self._states.values()))

    @property
    def poolings(self) -> tuple[Pooling, ...]:
        return tuple(sorted(self._states))

    def states(
        self,
        pooling: Pooling,
        depths: Sequence[int] | None = None,
        rows: Sequence[int] | None = None,
    ) -> Float[Tensor, "n_depths n d_model"]:
        """The states of `depths` and `rows`, in this order; None are all of them.

        Raises:
            ResultsError: these were not extracted.
        """
        if pooling not in self._states:
            raise ResultsError(f"{pooling} states were not extracted")
        if depths is not None and (absent := set(depths) - set(self.depths)):
            raise ResultsError(f"states of depth {min(absent)} were not extracted")
        found = self._states[pooling]
        if depths is not None:
            found = found[[self.depths.index(depth) for depth in depths]]
        return found if rows is None else found[:, torch.tensor(rows, dtype=torch.int64)]


class MemoryRecording:
    """What `Recording` is on disk: ranges of rows are written one after the other."""

    damaged: tuple[str, ...] = ()

    def __init__(
        self, example_ids: Sequence[str], depths: Sequence[int] | None, shard_rows: int
    ) -> None:
        self._example_ids = tuple(example_ids)
        self._depths = depths
        self.missing = row_ranges(len(self._example_ids), shard_rows)
        self._states: dict[Pooling, Float[Tensor, "n_depths n d_model"]] = {}
        self.held: HeldActivations | None = None

    def write(
        self, rows: range, states: Mapping[Pooling, Float[Tensor, "n_depths n d_model"]]
    ) -> None:
        """Keep the states of `rows`, one of the ranges in `missing`."""
        for pooling, tensor in states.items():
            if pooling not in self._states:
                shape = len(tensor), len(self._example_ids), tensor.shape[2]
                self._states[pooling] = torch.empty(shape)
            self._states[pooling][:, rows.start : rows.stop] = tensor
        self.missing = [other for other in self.missing if other != rows]

    def finish(self) -> None:
        """From now on the states can be read."""
        if self.missing:
            raise ValueError(f"rows {self.missing[0]} were not written")
        n_depths = len(next(iter(self._states.values())))
        depths = range(n_depths) if self._depths is None else self._depths
        self.held = HeldActivations(self._example_ids, depths, self._states)


class MemoryStore:
    """An `ActivationStore` in memory: what it holds is gone with it."""

    def __init__(self, *, shard_rows: int = SHARD_ROWS) -> None:
        self.shard_rows = shard_rows
        self._recordings: dict[str, MemoryRecording] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._recordings and self._recordings[key].held is not None

    def manifest(self, key: str) -> None:
        """Nothing is written down of what is gone soon."""

    def tidy(self, key: str) -> None:
        """What is killed leaves nothing here."""

    def record(
        self,
        key: str,
        example_ids: Sequence[str],
        about: Mapping[str, Any],
        depths: Sequence[int] | None = None,
    ) -> MemoryRecording:
        """Begin to keep states under `key`; `about` is of use on disk only."""
        recording = MemoryRecording(example_ids, depths, self.shard_rows)
        self._recordings[key] = recording
        return recording

    def forget(self) -> None:
        """Let go of everything."""
        self._recordings.clear()

    def open(self, key: str) -> HeldActivations:
        """What was recorded, to be read in parts.

        Raises:
            ResultsError: nothing was.
        """
        held = self._recordings[key].held if key in self._recordings else None
        if held is None:
            raise ResultsError("these states are not in memory: run the extract stage first")
        return held

    def read(self, key: str) -> Activations:
        """All of what was recorded; raises as `open` does."""
        held = self.open(key)
        return Activations(held.example_ids, {p: held.states(p) for p in held.poolings})
