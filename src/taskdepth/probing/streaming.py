"""Rows of states read a batch at a time, for problems that do not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from taskdepth.probing.problem import StateRows
from taskdepth.probing.scaling import Scaling
from taskdepth.seeds import stable_seed

Batch = tuple[Tensor, Tensor, int]  # x [n_depths, b, d], y [sets, b], the rows of all ranks


class JoinedRows:
    """Several parts as one, the rows of each after those of the one before it."""

    def __init__(self, parts: Sequence[StateRows]) -> None:
        self._parts = parts
        self._ends = torch.tensor([part.shape[1] for part in parts]).cumsum(dim=0)

    @property
    def shape(self) -> tuple[int, int, int]:
        n_depths, _, d = self._parts[0].shape
        return n_depths, int(self._ends[-1]), d

    def read(self, rows: Int[Tensor, " k"]) -> Float[Tensor, "n_depths k d"]:
        n_depths, _, d = self.shape
        x = torch.empty(n_depths, len(rows), d)
        of_row = torch.bucketize(rows, self._ends, right=True)
        for number in sorted(set(of_row.tolist())):
            here = of_row == number
            start = int(self._ends[number - 1]) if number else 0
            x[:, here] = self._parts[number].read(rows[here] - start)
        return x


class RowBatches:
    """An epoch's batches of `rows`, each rank with its share of every batch.

    The order depends on `seed` and the epoch alone, which Lightning tells through `sampler.set_epoch`;
    without a seed it is that of `rows`.
    """

    def __init__(
        self,
        states: StateRows,
        y: Int[Tensor, "sets n"],
        rows: Int[Tensor, " k"],
        batch_rows: int,
        seed: int | None = None,
        rank: int = 0,
        n_ranks: int = 1,
    ) -> None:
        self.states = states
        self._y, self._rows = y, rows
        self._batch_rows = batch_rows
        self._seed = seed
        self._rank, self._n_ranks = rank, n_ranks
        self._epoch = 0
        if seed is not None:
            self.sampler = self  # where Lightning looks for set_epoch

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch_rows)

    def __iter__(self) -> Iterator[Batch]:
        rows = self._rows
        if self._seed is not None:
            generator = torch.Generator().manual_seed(stable_seed(self._seed, str(self._epoch)))
            rows = rows[torch.randperm(len(rows), generator=generator)]
        for batch in torch.split(rows, self._batch_rows):
            share = batch[self._rank :: self._n_ranks].sort().values  # as they lie on the disk
            yield self.states.read(share), self._y[:, share], len(batch)


class SumOverRanks(Protocol):
    def __call__(self, values: Tensor) -> Tensor: ...


def streamed_scaling(batches: RowBatches, sum_over_ranks: SumOverRanks) -> Scaling:
    """`Scaling.of` the rows of all ranks' `batches`, in one pass.

    Means and sums of squares are merged batch by batch, then rank by rank (Chan, Golub & LeVeque 1979,
    *Updating Formulae and a Pairwise Algorithm for Computing Sample Variances*).
    """
    n_depths, _, d = batches.states.shape
    n, mean = 0, torch.zeros(n_depths, 1, d, dtype=torch.float64)
    squares = torch.zeros_like(mean)
    for x, _, _ in batches:
        k = x.shape[1]
        if k:
            x = x.double()
            own = x.mean(dim=1, keepdim=True)
            away = own - mean
            squares = (
                squares + (x - own).square().sum(1, keepdim=True) + away**2 * (n * k / (n + k))
            )
            mean = mean + away * (k / (n + k))
            n += k
    n_all = sum_over_ranks(torch.tensor(float(n), dtype=torch.float64))
    mean_all = sum_over_ranks(n * mean) / n_all
    squares = sum_over_ranks(squares + n * (mean - mean_all).square())
    return Scaling.of_moments(mean_all, (squares / n_all).sqrt())
