"""How long something takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """What `work` returns, and the seconds that it takes."""
    start_s = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start_s


def wall_s(work: Callable[[], object]) -> float:
    """The seconds that `work` takes."""
    return timed(work)[1]
