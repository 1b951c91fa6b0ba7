"""Probe problems whose answers are known."""

from __future__ import annotations

import torch
from torch import Tensor

from taskdepth.probing.problem import ProbeProblem

N, D, DEPTHS = 600, 12, 5


def problem(
    x: Tensor | None = None, y: Tensor | None = None, n_classes: int = 3, **changes: object
) -> ProbeProblem:
    """Labels that can be read from depth 2 on, and only from there."""
    generator = torch.Generator().manual_seed(0)
    if y is None:
        y = torch.randint(n_classes, (N,), generator=generator)
    if x is None:
        x = torch.randn(DEPTHS, N, D, generator=generator)
        x[2:, :, :n_classes] += 3 * torch.eye(n_classes)[y]
    part = torch.arange(len(y)) % 6
    about = {"model": "m", "role": "pretrained", "task": "rte", "cluster": "nli", "target": "label"}
    about |= {"pooling": "last_token", "class_names": tuple("abcdefgh"[:n_classes])}
    splits = {"is_train": part < 4, "is_validation": part == 4, "is_test": part == 5}
    return ProbeProblem(x=x, y=y, **(about | splits | changes))  # type: ignore[arg-type]


class HeldRows:
    """States in memory, to be read like those on a disk."""

    def __init__(self, x: Tensor) -> None:
        self._x = x
        self.shape = tuple(x.shape)

    def read(self, rows: Tensor) -> Tensor:
        return self._x[:, rows]
