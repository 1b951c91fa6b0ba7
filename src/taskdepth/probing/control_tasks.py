"""Control tasks (Hewitt & Liang 2019, arXiv:1909.03368): the same inputs with random labels.

What a probe reaches on them it owes to its own capacity and not to the representation. Nothing to do
with control *models*.
"""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor


def shuffled_labels(y: Int[Tensor, " n"], seed: int) -> Int[Tensor, " n"]:
    """`y` permuted over the rows: the class frequencies stay, what they say about the rows is gone.

    >>> shuffled_labels(torch.tensor([0, 0, 0, 1, 2]), seed=3).bincount()
    tensor([3, 1, 1])
    """
    generator = torch.Generator().manual_seed(seed)
    return y[torch.randperm(len(y), generator=generator)]
