from __future__ import annotations

import pytest
import torch

from taskdepth.activations.pooling import Pooling, pool

STATES = torch.arange(24.0).reshape(2, 4, 3)
RIGHT = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
LEFT = torch.tensor([[0, 1, 1, 1], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("mask", "pooling", "expected"),
    [
        (RIGHT, Pooling.LAST_TOKEN, [[6, 7, 8], [12, 13, 14]]),
        (LEFT, Pooling.LAST_TOKEN, [[9, 10, 11], [21, 22, 23]]),
        (RIGHT, Pooling.MEAN, [[3, 4, 5], [12, 13, 14]]),
        (LEFT, Pooling.MEAN, [[6, 7, 8], [21, 22, 23]]),
    ],
)
def test_pool(mask: torch.Tensor, pooling: Pooling, expected: list[list[int]]) -> None:
    torch.testing.assert_close(pool(STATES, mask, pooling), torch.tensor(expected).float())


@pytest.mark.parametrize("pooling", list(Pooling))
def test_what_padding_holds_does_not_matter(pooling: Pooling) -> None:
    spoilt = STATES.masked_fill(RIGHT.unsqueeze(-1) == 0, torch.inf)
    assert torch.equal(pool(spoilt, RIGHT, pooling), pool(STATES, RIGHT, pooling))
