"""The shared nouns: what a row of a task is, what a batch is, and which model plays which role."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, Int
    from torch import Tensor


class Role(StrEnum):
    """Which part a model plays in MOSSA (arXiv:2410.20008, section 3)."""

    PRETRAINED = "pretrained"  # before any tuning here
    EXPERIMENTAL = "experimental"  # tuned on all tasks
    CONTROL = "control"  # tuned on one task
    CEILING = "ceiling"  # a control model tuned with another seed: as alike as two of them get
    FOIL = "foil"  # another task's control model, on this task's prompts
    RANDOM_INIT = "random_init"  # of the same shape, with weights that have seen nothing


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
    """Tokens of `n` examples: padded, one example a row; or packed, one after the other in a single row.

    `labels` is the token tensor of Hugging Face, -100 where nothing is learnt. `example` numbers the
    example that a token belongs to, -1 at padding. `position_ids` start anew with every example.
    `share` is this batch's part in the loss of an optimizer step, times the number of batches in it: 1
    for all alike. `rows` are the examples' numbers among the training rows, where that is of use.
    """

    input_ids: Int[Tensor, "rows s"]
    labels: Int[Tensor, "rows s"]
    position_ids: Int[Tensor, "rows s"]
    example: Int[Tensor, "rows s"]
    task_index: Int[Tensor, " n"]
    lengths_tokens: tuple[int, ...]
    packed: bool
    share: float = 1.0
    rows: tuple[int, ...] = ()

    @property
    def n_examples(self) -> int:
        return len(self.lengths_tokens)

    @property
    def is_target(self) -> Bool[Tensor, "rows s"]:
        """True at the positions whose *next* token is learnt."""
        import torch

        shifted = torch.zeros_like(self.labels, dtype=torch.bool)
        shifted[:, :-1] = self.labels[:, 1:] != -100
        return shifted

    def without_targets(self) -> LMBatch:
        """The same tokens with nothing to be learnt: for a rank that has no row of a batch."""
        import torch

        return replace(self, labels=torch.full_like(self.labels, -100))

    def inputs(self) -> dict[str, Any]:
        """What a Hugging Face model is called with."""
        if self.packed:
            return {
                "input_ids": self.input_ids,
                "position_ids": self.position_ids,
                "lengths_tokens": self.lengths_tokens,
            }
        return {"input_ids": self.input_ids, "attention_mask": (self.example >= 0).long()}

    def to(self, device: torch.device | str, non_blocking: bool = False) -> LMBatch:
        """The same batch on `device` (the name Lightning looks for when it moves a batch)."""
        names = ("input_ids", "labels", "position_ids", "example", "task_index")
        moved = {name: getattr(self, name).to(device, non_blocking=non_blocking) for name in names}
        return replace(self, **moved)


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
