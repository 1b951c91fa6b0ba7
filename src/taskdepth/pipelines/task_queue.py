"""Tasks that several processes take from one folder, each by one process at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from taskdepth import launching, lock
from taskdepth.errors import ResultsError
from taskdepth.tasks.spec import TaskSpec

LOOK_EVERY_S = 1.0


class TaskQueue:
    """The tasks of `specs` that have no `record` yet.

    Whoever takes a task holds the lock of its folder until it puts the task back, done or not. What a dead
    process of this machine held is free again.
    """

    def __init__(self, specs: Sequence[TaskSpec], record: Callable[[TaskSpec], Path]) -> None:
        self._specs = tuple(specs)
        self._record = record
        self._taken: dict[str, ExitStack] = {}
        self._tried: set[str] = set()
        self._again: set[str] = set()

    @property
    def n_done(self) -> int:
        """How many tasks are done, by whichever process."""
        return sum(self._record(spec).is_file() for spec in self._specs)

    def take(self) -> TaskSpec | None:
        """The next task that nobody is at and that was not taken here before; None where there is none now."""
        for spec in self._open():
            if self._take(spec):
                return spec
        return None

    def take_back(self, name: str) -> TaskSpec | None:
        """A task that this process was at when it was ended; None where it cannot be had."""
        for spec in self._specs:
            if spec.name == name:
                return spec if self._take(spec) else None
        return None

    def reopen(self, names: Iterable[str]) -> None:
        """Have tasks done again that are done already, unless other processes share the tasks."""
        if not launching.is_one_of_many():
            self._again |= set(names)

    @property
    def names(self) -> list[str]:
        return [spec.name for spec in self._specs]

    @property
    def waiting(self) -> list[str]:
        """The tasks that can still be taken."""
        return [spec.name for spec in self._open()]

    def _take(self, spec: TaskSpec) -> bool:
        held = ExitStack()
        try:
            held.enter_context(lock.held(self._record(spec).parent))
        except ResultsError:
            return False  # somebody is at it
        if self._is_done(spec):  # and was, a moment ago
            held.close()
            return False
        self._taken[spec.name] = held
        self._tried.add(spec.name)
        return True

    def _is_done(self, spec: TaskSpec) -> bool:
        return self._record(spec).is_file() and spec.name not in self._again

    def put_back(self, spec: TaskSpec) -> None:
        """Let go of a task that was taken, whatever became of it."""
        self._taken.pop(spec.name).close()

    def wait(self) -> bool:
        """Wait for the others for a moment; False once they have left nothing to wait for."""
        if not self._open():
            return False
        time.sleep(LOOK_EVERY_S)
        return True

    def _open(self) -> list[TaskSpec]:
        """What is neither done nor was tried here."""
        return [
            spec for spec in self._specs if spec.name not in self._tried and not self._is_done(spec)
        ]
