"""k folds: every row is held out once."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from taskdepth.errors import DataError


def assign_folds(y: Int[Tensor, " n"], k: int, seed: int) -> Int[Tensor, " n"]:
    """The fold of each row: within every class, and over all, folds differ by one row at most.

    Raises:
        DataError: there are fewer rows than folds.

    >>> fold = assign_folds(torch.tensor([0, 0, 0, 0, 1, 1]), k=2, seed=0)
    >>> fold.bincount().tolist(), fold[:4].bincount().tolist()
    ([3, 3], [2, 2])
    """
    if len(y) < k:
        raise DataError(f"{len(y)} rows cannot be dealt into {k} folds")
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(y), generator=generator)
    by_class = shuffled[y.cpu()[shuffled].argsort(stable=True)]
    fold = torch.empty(len(y), dtype=torch.int64)
    fold[by_class] = torch.arange(len(y)) % k
    return fold.to(y.device)
