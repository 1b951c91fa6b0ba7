from __future__ import annotations

import random
from collections.abc import Sequence
from math import ceil

import pytest
import torch

from taskdepth.data.collate import (
    IGNORED,
    best_fit_decreasing,
    collate,
    pad,
    side_by_side,
    states_side_by_side,
    token_batches,
)
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


def test_packed_rows_lie_one_after_the_other() -> None:
    rows = [
        TokenisedRow("a", "t", (5, 6, 7, 8), 2),
        TokenisedRow("b", "u", (9, 4), 1),
        TokenisedRow("c", "t", (3,), 1),
    ]
    batch = collate(rows, [0, 1, 0], packed=True, share=0.5)
    x = IGNORED
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9, 4, 3]]
    assert batch.labels.tolist() == [[x, x, 7, 8, x, 4, x]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 0, 1, 0]]
    assert batch.example.tolist() == [[0, 0, 0, 0, 1, 1, 2]]
    assert batch.is_target.tolist() == [[False, True, True, False, True, False, False]]
    assert (batch.lengths_tokens, batch.n_examples) == ((4, 2, 1), 3)
    assert batch.share == batch.to("cpu").share == 0.5
    assert set(batch.inputs()) == {"input_ids", "position_ids", "lengths_tokens"}


def test_padding_belongs_to_no_example() -> None:
    rows = [TokenisedRow("a", "t", (5, 6, 7), 2), TokenisedRow("b", "u", (9, 4), 1)]
    batch = collate(rows, [0, 1])
    assert batch.example.tolist() == [[0, 0, 0], [1, 1, -1]]
    assert batch.position_ids.tolist() == [[0, 1, 2], [0, 1, 0]]
    assert batch.inputs()["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]


@pytest.mark.parametrize("packed", [False, True])
def test_a_row_that_is_all_target_learns_all_but_its_first_token(packed: bool) -> None:
    """In a packed row a first token would otherwise be predicted from another example."""
    rows = [TokenisedRow("a", "t", (5, 6), 1), TokenisedRow("b", "t", (7, 8, 9), 0)]
    batch = collate(rows, [0, 0], packed=packed)
    assert batch.labels.roll(-1, dims=1)[batch.is_target].tolist() == [6, 8, 9]
    assert batch.example[batch.is_target].tolist() == [0, 1, 1]


def loads(lengths: Sequence[int], packs: Sequence[Sequence[int]]) -> list[int]:
    return [sum(lengths[row] for row in pack) for pack in packs]


def best_fit_by_hand(lengths: Sequence[int], budget: int) -> list[int]:
    """How full each pack is when every row, longest first, tries all of them."""
    filled: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [i for i, load in enumerate(filled) if load + length <= budget]
        if fitting:
            filled[max(fitting, key=lambda i: filled[i])] += length
        else:
            filled.append(length)
    return filled


@pytest.mark.parametrize("budget", [1, 7, 40, 64, 97, 10_000])
@pytest.mark.parametrize("seed", range(4))
def test_packs_keep_every_row_once_within_budget_as_best_fit_does(budget: int, seed: int) -> None:
    rng = random.Random(seed)
    lengths = [rng.randint(1, rng.choice([8, 41])) for _ in range(rng.choice([1, 30, 200]))]
    packs = best_fit_decreasing(lengths, budget)
    assert sorted(row for pack in packs for row in pack) == list(range(len(lengths)))
    for pack, load in zip(packs, loads(lengths, packs), strict=True):
        assert load <= budget or len(pack) == 1
    assert sorted(loads(lengths, packs)) == sorted(best_fit_by_hand(lengths, budget))
    if max(lengths) <= budget:
        # no packing needs fewer than the tokens fill, nor than the rows longer than half
        fewest = max(ceil(sum(lengths) / budget), sum(2 * n > budget for n in lengths))
        assert fewest <= len(packs) <= 11 / 9 * fewest + 4
    assert packs == best_fit_decreasing(lengths, budget)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([], []),
        ([12], [[0]]),  # longer than the budget
        ([10, 10], [[0], [1]]),  # nothing is left of a full pack
        ([4, 6, 5, 5], [[1, 0], [2, 3]]),
        # 2 joins 8 and not 7, though 7 came later: the fullest pack
        ([8, 7, 2], [[0, 2], [1]]),
    ],
)
def test_packs_by_hand(lengths: list[int], expected: list[list[int]]) -> None:
    assert best_fit_decreasing(lengths, 10) == expected


@pytest.mark.parametrize("packed", [True, False])
def test_batches_side_by_side_are_one_batch_of_their_rows(packed: bool) -> None:
    rows = [
        TokenisedRow("a", "t", (5, 6, 7, 8), 2),
        TokenisedRow("b", "t", (9, 4), 1),
        TokenisedRow("c", "u", (3, 2, 1), 1),
    ]
    parts = [collate(rows[:2], [0, 0], packed=packed), collate(rows[2:], [0], packed=packed)]
    joined, whole = side_by_side(parts), collate(rows, [0, 0, 1], packed=packed)
    for name in ("input_ids", "labels", "position_ids", "example", "task_index"):
        assert torch.equal(getattr(joined, name), getattr(whole, name)), name
    assert (joined.lengths_tokens, joined.packed) == (whole.lengths_tokens, packed)
    states = [part.input_ids.unsqueeze(-1).float() for part in parts]
    found = states_side_by_side(states, packed=packed)
    assert torch.equal(found.squeeze(-1), whole.input_ids.float())
