"""`BenchRow`: what one comparison came to."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BenchRow:
    """Both sides of one comparison, measured in one run on the same work.

    `ratio` is theirs over ours, or the share reached of a limit; `goal` is a floor for it, None where
    the number is only told. `agreement` is how far the two results lie apart (unit in `name` or `against`),
    `agrees` whether that is within the tolerance.
    """

    name: str
    against: str
    ratio: float
    goal: float | None = None
    ours_s: float | None = None
    theirs_s: float | None = None
    agreement: float | None = None
    agrees: bool | None = None

    @property
    def holds(self) -> bool:
        """Whether the goal is reached with the same result."""
        return (self.goal is None or self.ratio >= self.goal) and self.agrees is not False


def device() -> str:
    """What this runs on, in words."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{_processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    if about.is_file():
        for line in about.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
