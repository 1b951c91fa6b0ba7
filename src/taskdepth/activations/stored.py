"""States that are in the store, read as far as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from taskdepth.activations import shard
from taskdepth.activations.manifest import Manifest
from taskdepth.activations.pooling import Pooling
from taskdepth.errors import ResultsError


@dataclass(frozen=True, slots=True)
class Activations:
    """Pooled states of some rows of one task: `states[pooling]` is `[n_depths, n, d_model]`, float32."""

    example_ids: tuple[str, ...]
    states: Mapping[Pooling, Float[Tensor, "n_depths n d_model"]]


class StoredActivations:
    """The states under one key. Their files are mapped into memory, and only what is used is loaded.

    Raises:
        ResultsError: there is nothing under the key, or a file is missing, torn or no shard. Altered
            values are not looked for here: that is what `python -m taskdepth.activations verify` does.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._manifest = Manifest.read(folder)
        except FileNotFoundError:
            raise ResultsError(f"no activations in {folder}: run the extract stage first") from None
        except ValueError as error:
            raise self._damaged(f"{folder / 'manifest.json'} is damaged ({error})") from None
        for record in self._manifest.shards:
            if problem := record.problem(folder, checksum=False):
                raise self._damaged(problem)
            with self._readable(folder / record.name):
                found = shard.shapes(folder / record.name)
                shape = (len(self.depths), len(record.rows), self._manifest.d_model)
                if found != dict.fromkeys(self.poolings, shape):
                    raise ValueError(f"it holds {found}")

    @property
    def example_ids(self) -> tuple[str, ...]:
        return self._manifest.example_ids

    @property
    def not_finite(self) -> frozenset[int]:
        """The rows with a state that is no number, at any depth."""
        return frozenset(row for record in self._manifest.shards for row in record.not_finite)

    @property
    def depths(self) -> tuple[int, ...]:
        return self._manifest.depths

    @property
    def poolings(self) -> tuple[Pooling, ...]:
        return self._manifest.poolings

    def states(
        self,
        pooling: Pooling,
        depths: Sequence[int] | None = None,
        rows: Sequence[int] | None = None,
    ) -> Float[Tensor, "n_depths n d_model"]:
        """The states of `depths` and `rows`, in this order, as float32; None are all of them."""
        if pooling not in self.poolings:
            raise ResultsError(f"{self._folder} holds no {pooling} states: extract them")
        if depths is not None and (absent := set(depths) - set(self.depths)):
            raise ResultsError(f"{self._folder} holds no states of depth {min(absent)}")
        chosen = slice(None) if depths is None else [self.depths.index(depth) for depth in depths]
        shards = self._manifest.shards
        if rows is None and len(shards) == 1:
            return self._part(shards[0].name, pooling, chosen, slice(None))
        n_depths = len(self.depths if depths is None else depths)
        wanted = torch.arange(len(self.example_ids)) if rows is None else torch.tensor(rows).long()
        if ((wanted < 0) | (wanted >= len(self.example_ids))).any():
            raise IndexError(f"rows beyond the {len(self.example_ids)} of {self._folder}")
        states = torch.empty(n_depths, len(wanted), self._manifest.d_model)
        for record in shards:
            here = ((wanted >= record.start) & (wanted < record.stop)).nonzero().squeeze(1)
            if len(here):
                local = slice(None) if rows is None else (wanted[here] - record.start).tolist()
                states[:, here] = self._part(record.name, pooling, chosen, local)
        return states

    def _part(
        self, name: str, pooling: Pooling, depths: list[int] | slice, rows: list[int] | slice
    ) -> Float[Tensor, "n_depths n d_model"]:
        with self._readable(self._folder / name):
            return shard.read(self._folder / name, pooling, depths, rows)

    @contextmanager
    def _readable(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, SafetensorError) as error:
            raise self._damaged(f"{path} is damaged ({error})") from None

    def _damaged(self, problem: str) -> ResultsError:
        command = f"python -m taskdepth.activations verify --drop --root {self._folder.parents[1]}"
        return ResultsError(
            f"{problem}; run `{command} {self._folder.name}` and then the extract stage again"
        )


class StatesOfPoolings(Mapping[Pooling, Tensor]):
    """The states of each pooling, read when they are looked up."""

    def __init__(self, stored: StoredActivations) -> None:
        self._stored = stored

    def __getitem__(self, pooling: Pooling) -> Float[Tensor, "n_depths n d_model"]:
        if pooling not in self._stored.poolings:
            raise KeyError(pooling)
        return self._stored.states(pooling)

    def __iter__(self) -> Iterator[Pooling]:
        return iter(self._stored.poolings)

    def __len__(self) -> int:
        return len(self._stored.poolings)
