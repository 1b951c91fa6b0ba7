"""`ProbeProblem`: one target to be read from one model's states, at every depth."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from taskdepth.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class ProbeProblem:
    """What to read (`target`: `task`, `cluster`, `label`, …), from which states, on which rows.

    Each row belongs to one of the three splits. `group` numbers the rows' groups in `groups`, for
    recall by group: tasks when the target is `task`, clusters when it is `cluster`; None where the
    problem is that of a single task. `is_scaled`: the states are used as they are. `coverage`: the
    share of the test rows that take part, None where all do by nature.

    Raises:
        DataError: there is nothing to tell apart, or a split is empty.
    """

    model: str
    role: str
    task: str
    cluster: str
    target: str
    pooling: str
    class_names: tuple[str, ...]
    x: Float[Tensor, "n_depths n d"]
    y: Int[Tensor, " n"]
    is_train: Bool[Tensor, " n"]
    is_validation: Bool[Tensor, " n"]
    is_test: Bool[Tensor, " n"]
    group: Int[Tensor, " n"] | None = None
    groups: tuple[tuple[str, str], ...] = ()  # (task, cluster) of each group
    is_scaled: bool = False
    coverage: float | None = None

    def __post_init__(self) -> None:
        about = f"{self.target} probe of {self.task} on {self.model}"
        if len(set(self.y[self.is_train].tolist())) < 2:
            raise DataError(f"{about}: its training rows are all of one class")
        for name in ("validation", "test"):
            if not bool(getattr(self, f"is_{name}").any()):
                raise DataError(f"{about}: it has no {name} rows")

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ProbeProblem:
        """The same problem on `device` (the name Lightning looks for when it moves a batch)."""
        moved: dict[str, Any] = {
            field.name: value.to(device, non_blocking=non_blocking)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)
