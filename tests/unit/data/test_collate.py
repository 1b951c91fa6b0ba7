from __future__ import annotations

import random

import pytest
import torch

from taskdepth.data.collate import IGNORED, collate, pad, token_batches
from taskdepth.data.tokenise import TokenisedRow


def test_left_and_right_padding() -> None:
    ids, mask = pad([[5, 6, 7], [8]], side="left")
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_only_target_tokens_are_labels() -> None:
    rows = [TokenisedRow("a", "t", (5, 6, 7, 8), 2), TokenisedRow("b", "u", (9, 4), 1)]
    batch = collate(rows, [0, 1])
    assert batch.labels.tolist() == [[IGNORED, IGNORED, 7, 8], [IGNORED, 4, IGNORED, IGNORED]]
    assert batch.is_target.tolist() == [[False, True, True, False], [True, False, False, False]]
    assert batch.task_index.tolist() == [0, 1]
    assert batch.to("cpu").input_ids.equal(batch.input_ids)


def test_the_first_token_of_a_row_is_never_a_target() -> None:
    batch = collate([TokenisedRow("a", "t", (5, 6), 1)], [0])
    assert batch.is_target.sum() == 1
    assert batch.labels.roll(-1, dims=1)[batch.is_target].tolist() == [6]


@pytest.mark.parametrize("budget", [1, 7, 64, 10_000])
def test_token_batches_keep_every_row_once_within_budget(budget: int) -> None:
    lengths = random.Random(0).choices(range(1, 40), k=100)
    batches = token_batches(lengths, budget)
    assert sorted(row for batch in batches for row in batch) == list(range(100))
    for batch in batches:
        padded = max(lengths[row] for row in batch) * len(batch)
        assert padded <= budget or len(batch) == 1
    longest = [max(lengths[row] for row in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_padding_mask_counts_tokens() -> None:
    _, mask = pad([[1] * n for n in (3, 1, 2)])
    assert mask.sum(dim=1).tolist() == [3, 1, 2]
    assert mask.dtype == torch.int64
