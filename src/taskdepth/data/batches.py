"""Batches of tokenised rows: shuffled, length-grouped and resumable for tuning; whole examples for scoring."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from taskdepth.data.collate import best_fit_decreasing, collate, token_batches
from taskdepth.data.token_rows import TokenRows
from taskdepth.data.tokenise import TokenisedRow, Tokeniser
from taskdepth.ranks import deal
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import Example, LMBatch

# this many batches are sorted by length together: little padding, yet a new order every epoch
GROUPED_BATCHES = 8


@dataclass(frozen=True, slots=True)
class Batching:
    """How rows become batches.

    `packed`: examples side by side in one row, nothing is padding. `tokens` is a budget for each batch
    (padding counts against it) and takes the place of `examples`, the number of rows. `accumulated`
    batches make an optimizer step; `balance` says what counts the same in its loss (`models.balance`).
    """

    examples: int = 16
    tokens: int | None = None
    packed: bool = True
    accumulated: int = 1
    balance: str = "token"


class TrainBatches:
    """An epoch's batches, in an order that depends on the seed and the epoch alone.

    Without a token budget rows are shuffled every epoch; where they are padded, they are sorted by length
    within a window of some batches, and the batches shuffled again. With a budget the batches are
    made once (so that every epoch has as many) and their order is shuffled. Lightning tells the epoch
    through `sampler.set_epoch`, and asks for `state_dict` and `load_state_dict` to go on in the middle
    of an epoch.

    Of every batch each of `n_ranks` ranks gets its share of the rows, about as many tokens as the others:
    the batches are the same for any number of ranks.
    """

    def __init__(
        self,
        rows: TokenRows,
        task_index: Mapping[str, int],
        batching: Batching,
        seed: int,
        *,
        rank: int = 0,
        n_ranks: int = 1,
    ) -> None:
        self._rows = rows
        self._task_index = task_index
        self._batching = batching
        self._seed = seed
        self._rank, self._n_ranks = rank, n_ranks
        self._epoch = 0
        self._next_batch = 0
        self._resume_at = 0
        self._lengths = [rows.n_tokens(i) for i in range(len(rows))]
        self._made = None if batching.tokens is None else self._within_budget(batching.tokens)
        self.sampler = self  # where Lightning looks for set_epoch

    def __len__(self) -> int:
        if self._made is not None:
            return len(self._made)
        return -(-len(self._rows) // self._batching.examples)

    def __iter__(self) -> Iterator[LMBatch]:
        # at the end of an epoch there is nothing to go on with: the next one starts afresh
        self._next_batch = self._resume_at % len(self)
        self._resume_at = 0
        order = self._order(self._epoch)
        shares = self._shares(order)
        for batch, share in list(zip(order, shares, strict=True))[self._next_batch :]:
            self._next_batch += 1
            own = self._own(batch)
            rows = [self._rows[i] for i in own or batch[:1]]
            index = [self._task_index[row.task] for row in rows]
            packed = self._batching.packed
            made = collate(rows, index, packed=packed, share=share, numbers=own or batch[:1])
            yield made if own else made.without_targets()

    def _own(self, batch: list[int]) -> list[int]:
        """The rows of a batch that this rank learns, none where it has fewer rows than there are ranks."""
        if self._n_ranks == 1:
            return batch
        hands = deal([self._lengths[i] for i in batch], self._n_ranks)
        return [batch[k] for k in hands[self._rank]]

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        return {"next_batch": self._next_batch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._resume_at = state["next_batch"]

    def _within_budget(self, tokens: int) -> list[list[int]]:
        if not self._batching.packed:
            return token_batches(self._lengths, tokens)
        # rows of one length would otherwise be packed task by task
        order = list(range(len(self._lengths)))
        random.Random(f"{self._seed}/packs").shuffle(order)
        packs = best_fit_decreasing([self._lengths[i] for i in order], tokens)
        return [[order[i] for i in pack] for pack in packs]

    def _order(self, epoch: int) -> list[list[int]]:
        rng = random.Random(f"{self._seed}/epoch/{epoch}")
        if self._made is not None:
            return rng.sample(self._made, len(self._made))
        order = list(range(len(self._rows)))
        rng.shuffle(order)
        size = self._batching.examples
        window = size if self._batching.packed else size * GROUPED_BATCHES
        batches = []
        for start in range(0, len(order), window):
            group = sorted(order[start : start + window], key=lambda i: self._lengths[i])
            batches += [group[i : i + size] for i in range(0, len(group), size)]
        rng.shuffle(batches)
        return batches

    def _shares(self, order: Sequence[Sequence[int]]) -> list[float]:
        """What each batch counts in the loss of its step: a mean of means would favour small batches."""
        n = self._batching.accumulated
        if n == 1:
            return [1.0] * len(order)
        if self._batching.balance == "token":
            sizes = [sum(self._rows.n_target_tokens(i) for i in batch) for batch in order]
        else:
            sizes = [len(batch) for batch in order]
        return [n * size / sum(sizes[i - i % n : i - i % n + n]) for i, size in enumerate(sizes)]


@dataclass(frozen=True, slots=True)
class ScoringBatch:
    """Whole examples with every answer they could have: row i belongs to example `example[i]`.

    Each example's first row is its own target; `is_right` marks every row that would be right. A `spare`
    batch does not count: Lightning gives every rank something to validate on, or to none.
    """

    batch: LMBatch
    example: Int[Tensor, " b"]
    is_right: Bool[Tensor, " b"]
    task_index: Int[Tensor, " n_examples"]
    spare: bool = False

    @property
    def is_first(self) -> Bool[Tensor, " b"]:
        """The row of each example's own target."""
        first = torch.ones_like(self.is_right)
        first[1:] = self.example[1:] != self.example[:-1]
        return first

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ScoringBatch:
        moved = {
            name: getattr(self, name).to(device, non_blocking=non_blocking)
            for name in ("batch", "example", "is_right", "task_index")
        }
        return replace(self, **moved)


def answers(example: Example, spec: TaskSpec) -> list[tuple[str, bool]]:
    """Every answer to be scored with whether it is right; the example's own target comes first.

    A closed set (the row's options, or the task's labels) is scored whole, so that answers can be
    ranked; otherwise only the targets are.

    >>> from taskdepth.tasks.spec import Kind
    >>> spec = TaskSpec("t", "c", Kind.CLASSIFICATION, ("no", "yes"))
    >>> answers(Example("t-0", "t", "?", ("yes",), "yes"), spec)
    [('yes', True), ('no', False)]
    """
    right = list(dict.fromkeys(example.targets))
    closed = example.options or spec.labels
    if example.target not in closed:
        return [(target, True) for target in right]
    others = [option for option in dict.fromkeys(closed) if option not in right]
    return [(target, True) for target in right] + [(option, False) for option in others]


class ScoringBatches:
    """The examples of a split, a batch at a time; an example's answers are never split."""

    def __init__(
        self,
        examples: Sequence[Example],
        specs: Sequence[TaskSpec],
        tokeniser: Tokeniser,
        batch_size_rows: int,
        packed: bool = False,
    ) -> None:
        self._packed = packed
        self._spare = False
        self._task_index = {spec.name: i for i, spec in enumerate(specs)}
        by_name = {spec.name: spec for spec in specs}
        scored = [_scored_rows(example, by_name[example.task], tokeniser) for example in examples]
        # similar lengths together, so that little is padding
        ordered = sorted((rows for rows in scored if rows), key=lambda rows: rows[0][0].n_tokens)
        self._batches: list[list[list[tuple[TokenisedRow, bool]]]] = []
        n_rows = 0
        for rows in ordered:
            if not self._batches or n_rows + len(rows) > batch_size_rows:
                self._batches.append([])
                n_rows = 0
            self._batches[-1].append(rows)
            n_rows += len(rows)

    @property
    def packed(self) -> bool:
        """Whether answers stand side by side, so that the model must be kept from looking across."""
        return self._packed

    def __len__(self) -> int:
        return len(self._batches)

    def of_rank(self, rank: int, n_ranks: int) -> ScoringBatches:
        """Every `n_ranks`-th batch, about as many tokens for each rank; a spare one where there are too few."""
        own = copy(self)
        own._spare = rank >= len(self)
        own._batches = self._batches[:1] if own._spare else self._batches[rank::n_ranks]
        return own

    def __iter__(self) -> Iterator[ScoringBatch]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> ScoringBatch:
        group = self._batches[i]
        rows = [row for scored in group for row, _ in scored]
        return ScoringBatch(
            collate(rows, [self._task_index[row.task] for row in rows], packed=self._packed),
            torch.tensor([i for i, scored in enumerate(group) for _ in scored]),
            torch.tensor([right for scored in group for _, right in scored]),
            torch.tensor([self._task_index[scored[0][0].task] for scored in group]),
            self._spare,
        )


def _scored_rows(
    example: Example, spec: TaskSpec, tokeniser: Tokeniser
) -> list[tuple[TokenisedRow, bool]]:
    rows = [(tokeniser.row(example, answer), right) for answer, right in answers(example, spec)]
    # an answer that does not fit makes the ranking unfair: leave the example out
    return (
        [] if any(row is None for row, _ in rows) else [(r, ok) for r, ok in rows if r is not None]
    )
