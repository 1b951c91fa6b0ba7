"""Batches of tokenised rows: shuffled, length-grouped and resumable for tuning; whole examples for scoring."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from taskdepth.data.collate import collate
from taskdepth.data.tokenise import TokenisedRow, Tokeniser
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import Example, LMBatch

# this many batches are sorted by length together: little padding, yet a new order every epoch
GROUPED_BATCHES = 8


class TrainBatches:
    """An epoch's batches, in an order that depends on the seed and the epoch alone.

    Rows are shuffled, sorted by length within a window of some batches, and the batches shuffled
    again. Lightning tells the epoch through `sampler.set_epoch`, and asks for `state_dict` and
    `load_state_dict` to go on in the middle of an epoch.
    """

    def __init__(
        self,
        rows: Sequence[TokenisedRow],
        task_index: Mapping[str, int],
        batch_size_examples: int,
        seed: int,
    ) -> None:
        self._rows = rows
        self._task_index = task_index
        self._batch_size = batch_size_examples
        self._seed = seed
        self._epoch = 0
        self._next_batch = 0
        self._resume_at = 0
        self.sampler = self  # where Lightning looks for set_epoch

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch_size)

    def __iter__(self) -> Iterator[LMBatch]:
        # at the end of an epoch there is nothing to go on with: the next one starts afresh
        self._next_batch = self._resume_at % len(self)
        self._resume_at = 0
        for batch in self._order(self._epoch)[self._next_batch :]:
            self._next_batch += 1
            rows = [self._rows[i] for i in batch]
            yield collate(rows, [self._task_index[row.task] for row in rows])

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        return {"next_batch": self._next_batch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._resume_at = state["next_batch"]

    def _order(self, epoch: int) -> list[list[int]]:
        rng = random.Random(f"{self._seed}/epoch/{epoch}")
        order = list(range(len(self._rows)))
        rng.shuffle(order)
        window = self._batch_size * GROUPED_BATCHES
        batches = []
        for start in range(0, len(order), window):
            group = sorted(order[start : start + window], key=lambda i: self._rows[i].n_tokens)
            batches += [
                group[i : i + self._batch_size] for i in range(0, len(group), self._batch_size)
            ]
        rng.shuffle(batches)
        return batches


@dataclass(frozen=True, slots=True)
class ScoringBatch:
    """Whole examples with every answer they could have: row i belongs to example `example[i]`.

    Each example's first row is its own target; `is_right` marks every row that would be right.
    """

    batch: LMBatch
    example: Int[Tensor, " b"]
    is_right: Bool[Tensor, " b"]
    task_index: Int[Tensor, " n_examples"]

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
    ) -> None:
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

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[ScoringBatch]:
        for group in self._batches:
            rows = [row for rows in group for row, _ in rows]
            yield ScoringBatch(
                collate(rows, [self._task_index[row.task] for row in rows]),
                torch.tensor([i for i, rows in enumerate(group) for _ in rows]),
                torch.tensor([right for rows in group for _, right in rows]),
                torch.tensor([self._task_index[rows[0][0].task] for rows in group]),
            )


def _scored_rows(
    example: Example, spec: TaskSpec, tokeniser: Tokeniser
) -> list[tuple[TokenisedRow, bool]]:
    rows = [(tokeniser.row(example, answer), right) for answer, right in answers(example, spec)]
    # an answer that does not fit makes the ranking unfair: leave the example out
    return (
        [] if any(row is None for row, _ in rows) else [(r, ok) for r, ok in rows if r is not None]
    )
