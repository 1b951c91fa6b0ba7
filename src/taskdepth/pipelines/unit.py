"""`Unit`: what one model reads of one split of one task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from taskdepth.types import ModelRef, Split


@dataclass(frozen=True, slots=True)
class Unit:
    """The rows of one split of one task, read by one model."""

    model: ModelRef
    base: Path
    example_ids: tuple[str, ...]
    prompts: tuple[tuple[int, ...], ...]
    first_targets: tuple[int, ...]  # empty unless they are read
    task: str
    split: Split
    key: str
