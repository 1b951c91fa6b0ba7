"""`ProbeProblem`: one target to be read from one model's states, at every depth.

`StreamedProblem` is the same where the states do not fit into memory.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from taskdepth.errors import DataError


class StateRows(Protocol):
    """States of which any rows can be asked for, without the others being read."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """n_depths, n, d."""

    def read(self, rows: Int[Tensor, " k"]) -> Float[Tensor, "n_depths k d"]: ...


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Question:
    """What to read (`target`: `task`, `cluster`, `label`, …), from which model, on which rows.

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


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ProbeProblem(Question):
    """A question with the states that are to answer it."""

    x: Float[Tensor, "n_depths n d"]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ProbeProblem:
        """The same problem on `device` (the name Lightning looks for when it moves a batch)."""
        moved: dict[str, Any] = {
            field.name: value.to(device, non_blocking=non_blocking)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StreamedProblem(Question):
    """A question with states that are read a few rows at a time."""

    states: StateRows

    def held(self) -> ProbeProblem:
        """The same with all of its states read."""
        about = {field.name: getattr(self, field.name) for field in fields(Question)}
        x = self.states.read(torch.arange(len(self.y)))
        return ProbeProblem(x=x, **about)
