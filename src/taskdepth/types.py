"""The shared nouns: what a row of a task is, what a batch is, and which model plays which role."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, Int
    from torch import Tensor


class Role(StrEnum):
    """Which part a model plays in MOSSA (arXiv:2410.20008, section 3)."""

    PRETRAINED = "pretrained"  # before any tuning here
    EXPERIMENTAL = "experimental"  # tuned on all tasks
    CONTROL = "control"  # tuned on one task


class Split(StrEnum):
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Example:
    """One row of one task.

    `targets`: any of them is right, the first is trained on. `label` is a member of the task's
    closed label set, or None. `options` are the answers this row offers, or None. `inverted`: the
    prompt gives the answer away, or asks for something else ("Write a negative review"); tuning may
    learn from such a row, probing and accuracy never see it.
    """

    example_id: str
    task: str
    prompt: str
    targets: tuple[str, ...]
    label: str | None = None
    options: tuple[str, ...] | None = None
    inverted: bool = False

    @property
    def target(self) -> str:
        """The text that tuning learns."""
        return self.targets[0]


@dataclass(frozen=True, slots=True)
class LMBatch:
    """A padded batch; `labels` is the token tensor of Hugging Face, -100 where nothing is learnt."""

    input_ids: Int[Tensor, "b s"]
    attention_mask: Int[Tensor, "b s"]
    labels: Int[Tensor, "b s"]
    task_index: Int[Tensor, " b"]

    @property
    def is_target(self) -> Bool[Tensor, "b s"]:
        """True at the positions whose *next* token is learnt."""
        import torch

        shifted = torch.zeros_like(self.labels, dtype=torch.bool)
        shifted[:, :-1] = self.labels[:, 1:] != -100
        return shifted

    def to(self, device: torch.device | str, non_blocking: bool = False) -> LMBatch:
        """The same batch on `device` (the name Lightning looks for when it moves a batch)."""
        return LMBatch(
            *(
                tensor.to(device, non_blocking=non_blocking)
                for tensor in (self.input_ids, self.attention_mask, self.labels, self.task_index)
            )
        )


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Where a model is, and which role it plays.

    `path` is a Hugging Face folder or hub id, `adapter` a PEFT folder on top of it; `task` is set
    for control models only. `name` is what tables and figures call it.
    """

    role: Role
    name: str
    path: str
    adapter: Path | None = None
    task: str | None = None
