"""Steps whose loss or gradient is no number: they never reach the weights, and are told by task and row."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from taskdepth.errors import ModelError
from taskdepth.types import LMBatch

TOLD_ROWS = 5


class OnBadStep(StrEnum):
    STOP = "stop"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class BadStep:
    """`rows` are those whose own loss is no number, or all of the step where only its gradient is none."""

    step: int
    what: str
    tasks: tuple[str, ...]
    rows: tuple[str, ...]

    def __str__(self) -> str:
        told = ", ".join(self.rows[:TOLD_ROWS])
        more = f", … ({len(self.rows)} in all)" if len(self.rows) > TOLD_ROWS else ""
        return (
            f"the {self.what} of step {self.step} is no number: {', '.join(self.tasks)}, "
            f"rows {told}{more}"
        )


class StepGuard:
    """Told of every batch, it judges the gradients before the optimizer takes them.

    `name_of` says which task and example a training row is. `skipped` are the steps that were left out.
    """

    def __init__(self, action: str, name_of: Callable[[int], tuple[str, str]]) -> None:
        self.action = OnBadStep(action)
        self.skipped: list[BadStep] = []
        self._name_of = name_of
        self._seen: list[tuple[tuple[int, ...], Float[Tensor, " n"]]] = []

    def saw(self, batch: LMBatch, loss: Float[Tensor, " n"]) -> None:
        """Remember a batch of the step, and the loss of each of its rows."""
        self._seen.append((batch.rows, loss.detach()))

    def judge(self, gradients: Iterable[Tensor], step: int, *, scaled: bool) -> BadStep | None:
        """What is wrong with the step that is about to be taken; None if nothing is.

        `scaled`: the optimizer leaves out steps of which only the gradient is no number by itself, as it looks
        for the largest scale (mixed float16).
        """
        seen, self._seen = self._seen, []
        norm = torch.nn.utils.get_total_norm(list(gradients))
        if norm.isfinite():
            return None
        own = [row for rows, loss in seen for row in _lost(rows, loss)]
        if scaled and not own:
            return None
        rows = own or [row for rows, _ in seen for row in rows]
        names = [self._name_of(row) for row in rows]
        tasks = tuple(dict.fromkeys(task for task, _ in names))
        return BadStep(step, "loss" if own else "gradient", tasks, tuple(name for _, name in names))

    def skip(self, bad: BadStep, parameters: Iterable[nn.Parameter]) -> None:
        """Without gradients an optimizer changes neither weights nor its own state."""
        for parameter in parameters:
            parameter.grad = None
        self.skipped.append(bad)
        print(f"step left out: {bad}", file=sys.stderr)

    def state_dict(self) -> list[dict[str, Any]]:
        return [asdict(bad) for bad in self.skipped]

    def load_state_dict(self, state: Sequence[dict[str, Any]]) -> None:
        self.skipped = [
            BadStep(one["step"], one["what"], tuple(one["tasks"]), tuple(one["rows"]))
            for one in state
        ]


def error(bad: BadStep, kept: str = "") -> ModelError:
    """What ends a run; `kept` says where the last good state is."""
    return ModelError(
        f"{bad}; the weights are those before it{kept}: a smaller optimizer.lr, or "
        "trainer.on_bad_step=skip"
    )


def _lost(rows: tuple[int, ...], loss: Float[Tensor, " n"]) -> list[int]:
    return [row for row, fine in zip(rows, loss.isfinite().tolist(), strict=True) if not fine]
