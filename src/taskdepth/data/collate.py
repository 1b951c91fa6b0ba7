"""Token rows to padded tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from taskdepth.data.tokenise import TokenisedRow
from taskdepth.types import LMBatch

IGNORED = -100  # Hugging Face's label of positions without loss


def pad(
    rows: Sequence[Sequence[int]], side: str = "right"
) -> tuple[Int[Tensor, "b s"], Int[Tensor, "b s"]]:
    """`rows` as one tensor and its attention mask.

    Padding is masked out, so its token id is of no consequence: 0 exists in every vocabulary.

    >>> ids, mask = pad([[5, 6, 7], [8]])
    >>> ids.tolist(), mask.tolist()
    ([[5, 6, 7], [8, 0, 0]], [[1, 1, 1], [1, 0, 0]])
    """
    longest = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(longest - len(row), longest)
        ids[i, place] = torch.tensor(row, dtype=torch.int64)
        mask[i, place] = 1
    return ids, mask


def collate(rows: Sequence[TokenisedRow], task_index: Sequence[int]) -> LMBatch:
    """A right-padded batch in which only target tokens (the end token too) are learnt."""
    ids, mask = pad([row.input_ids for row in rows])
    labels = torch.where(mask.bool(), ids, IGNORED)
    for i, row in enumerate(rows):
        labels[i, : row.n_prompt_tokens] = IGNORED
    return LMBatch(ids, mask, labels, torch.tensor(task_index, dtype=torch.int64))


def token_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Row numbers in batches of at most `batch_tokens` *padded* tokens, longest rows first.

    Sorted by length, so little is padding; a row longer than the budget is a batch of its own. The
    longest come first, so that a batch too large for memory fails at once and not after an hour.

    >>> token_batches([3, 9, 4, 2], batch_tokens=9)
    [[1], [2, 0], [3]]
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
