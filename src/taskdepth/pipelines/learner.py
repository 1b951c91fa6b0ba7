"""One of several control models that are trained at once: its weights, its batches, and how far it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch

from taskdepth.data.module import TaskDataModule
from taskdepth.models import joint
from taskdepth.models.bad_steps import StepGuard
from taskdepth.models.prefix_cache import PrefixCache
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import LMBatch

# what a learner counts and remembers
COUNTS = (
    *("step", "epoch", "n_batches", "loss", "is_stopped", "validation", "validated_at_step"),
    *("best_loss", "n_worse"),
)


@dataclass(eq=False)
class Learner:
    """One task on its way: its adapter, what steps it, its batches, and how far it is."""

    spec: TaskSpec
    data: TaskDataModule
    weights: joint.Weights
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    n_steps: int
    start_s: float
    guard: StepGuard
    prefix: PrefixCache | None = None
    step: int = 0
    epoch: int = 0
    n_batches: int = 0  # of the epoch that is under way
    loss: float | None = None
    is_stopped: bool = False
    validation: dict[str, float] = field(default_factory=dict)
    validated_at_step: int = -1
    best_loss: float = math.inf
    n_worse: int = 0

    def __post_init__(self) -> None:
        self.batches = self._all_batches()

    @property
    def is_done(self) -> bool:
        return self.is_stopped or self.step >= self.n_steps

    def _all_batches(self) -> Iterator[Turn]:
        epochs = self.data.train_dataloader()
        if self.n_batches:
            epochs.load_state_dict({"next_batch": self.n_batches})
        for epoch in count(self.epoch):
            epochs.set_epoch(epoch)
            for number, batch in enumerate(epochs, self.n_batches + 1):
                yield Turn(self, batch, number, number == len(epochs))

    def state_dict(self) -> dict[str, Any]:
        """All that a learner which has just begun needs to become this one."""
        matrices = joint.parameters(self.weights)
        return {
            "weights": [matrix.detach() for matrix in matrices],
            "gradients": [matrix.grad for matrix in matrices],  # of a step that is not complete
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "guard": self.guard.state_dict(),
            "counts": {name: getattr(self, name) for name in COUNTS},
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        matrices = joint.parameters(self.weights)
        for matrix, weight, gradient in zip(
            matrices, state["weights"], state["gradients"], strict=True
        ):
            matrix.copy_(weight)
            matrix.grad = None if gradient is None else gradient.to(matrix.device)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.guard.load_state_dict(state["guard"])
        for name, value in state["counts"].items():
            setattr(self, name, value)


@dataclass(frozen=True, slots=True)
class Turn:
    """A batch of `learner`, the `number`-th of its epoch."""

    learner: Learner
    batch: LMBatch
    number: int
    is_last: bool
