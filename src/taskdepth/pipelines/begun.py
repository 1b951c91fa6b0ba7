"""How far control models that are trained at once are: one checkpoint for all, and the one before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from taskdepth.models.checkpoints import LAST, WholeCheckpoints, newest
from taskdepth.tasks.spec import TaskSpec

PREVIOUS = "previous.ckpt"


class Stateful(Protocol):
    """A task that has begun."""

    spec: TaskSpec

    def state_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Begun:
    """The states of the tasks that share steps, in their order, and the names of those that wait."""

    learners: dict[str, dict[str, Any]]
    waiting: tuple[str, ...]


def save(folder: Path, learners: Sequence[Stateful], waiting: Sequence[str]) -> None:
    """Keep how far they are, in `folder`; what was kept there before stays as the one before."""
    last = folder / LAST
    if last.exists():
        last.replace(folder / PREVIOUS)
    states = {learner.spec.name: learner.state_dict() for learner in learners}
    content = {"learners": states, "waiting": list(waiting)}
    WholeCheckpoints().save_checkpoint(content, last)


def load(folder: Path) -> tuple[Begun | None, list[str]]:
    """What was kept, and what is wrong with files of it that cannot be used; None without a usable file."""
    path, problems = newest(folder)
    if path is None:
        return None, problems
    content = torch.load(path, map_location="cpu", weights_only=True)
    return Begun(content["learners"], tuple(content["waiting"])), problems
