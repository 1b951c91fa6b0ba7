"""Which token stands for a prompt."""

from __future__ import annotations

from enum import StrEnum

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Pooling(StrEnum):
    LAST_TOKEN = "last_token"  # the last prompt token: the paper's (arXiv:2410.20008, section 3)
    MEAN = "mean"  # all prompt tokens


def pool(
    states: Float[Tensor, "b s d_model"], mask: Int[Tensor, "b s"], pooling: Pooling
) -> Float[Tensor, "b d_model"]:
    """One state per row, whichever side the padding is on; `mask` is 1 at true tokens. In float32.

    >>> states = torch.arange(6.0).reshape(1, 3, 2)
    >>> pool(states, torch.tensor([[1, 1, 0]]), Pooling.LAST_TOKEN).tolist()
    [[2.0, 3.0]]
    >>> pool(states, torch.tensor([[1, 1, 0]]), Pooling.MEAN).tolist()
    [[1.0, 2.0]]
    """
    if pooling is Pooling.LAST_TOKEN:
        position = torch.arange(mask.shape[1], device=mask.device)
        last = (mask * position).argmax(dim=1)
        return states[torch.arange(len(last), device=mask.device), last].float()
    weight = mask.float() / mask.sum(dim=1, keepdim=True)
    # padding may hold anything, and 0 · inf is NaN: zeros in its place
    kept = states.float().masked_fill(mask.unsqueeze(-1) == 0, 0.0)
    return torch.bmm(weight.unsqueeze(1), kept).squeeze(1)
