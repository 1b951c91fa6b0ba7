from __future__ import annotations

import pytest
import torch

from taskdepth.activations.pooling import Places, Pooling, pool

STATES = torch.arange(24.0).reshape(2, 4, 3)  # token t of row r is [12 r + 3 t, …]
# prompts of 2 and 1 tokens with a target token behind each
TOKENS = [2, 1]
RIGHT = Places.of([torch.arange(0, 3), torch.arange(4, 6)], TOKENS)
LEFT = Places.of([torch.arange(1, 4), torch.arange(6, 8)], TOKENS)
PACKED = Places.of([torch.arange(0, 3), torch.arange(3, 5)], TOKENS)


@pytest.mark.parametrize(
    ("places", "pooling", "expected"),
    [
        (RIGHT, Pooling.LAST_TOKEN, [[3, 4, 5], [12, 13, 14]]),
        (LEFT, Pooling.LAST_TOKEN, [[6, 7, 8], [18, 19, 20]]),
        (RIGHT, Pooling.MEAN, [[1.5, 2.5, 3.5], [12, 13, 14]]),
        (LEFT, Pooling.MEAN, [[4.5, 5.5, 6.5], [18, 19, 20]]),
        (RIGHT, Pooling.FIRST_TARGET, [[6, 7, 8], [15, 16, 17]]),
        (LEFT, Pooling.FIRST_TARGET, [[9, 10, 11], [21, 22, 23]]),
    ],
)
def test_pool_of_padded_rows(places: Places, pooling: Pooling, expected: list[list[float]]) -> None:
    torch.testing.assert_close(pool(STATES, places, pooling), torch.tensor(expected).float())


@pytest.mark.parametrize("pooling", list(Pooling))
def test_packed_rows_are_pooled_like_padded_ones(pooling: Pooling) -> None:
    packed = torch.cat([STATES[0, :3], STATES[1, :2]]).unsqueeze(0)
    assert torch.equal(pool(packed, PACKED, pooling), pool(STATES, RIGHT, pooling))


@pytest.mark.parametrize("pooling", list(Pooling))
def test_what_padding_holds_does_not_matter(pooling: Pooling) -> None:
    spoilt = STATES.clone()
    spoilt[0, 3] = spoilt[1, 2:] = torch.inf
    assert torch.equal(pool(spoilt, RIGHT, pooling), pool(STATES, RIGHT, pooling))


@pytest.mark.parametrize("pooling", list(Pooling))
def test_a_token_may_be_that_of_several_prompts(pooling: Pooling) -> None:
    rows = STATES[0, [0, 1, 2, 3]].unsqueeze(0)
    # the second prompt begins with the first token of the first
    shared = Places.of([torch.tensor([0, 1, 2]), torch.tensor([0, 3])], TOKENS)
    apart = torch.stack([STATES[0, [0, 1, 2, 2]], STATES[0, [0, 3, 3, 3]]])
    assert torch.equal(pool(rows, shared, pooling), pool(apart, RIGHT, pooling))
