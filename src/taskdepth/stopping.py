"""SIGTERM, by which a cluster asks for its machine back: leave within seconds, with nothing lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM
GRACE_S = 8  # for the step that is under way; clusters kill some ten seconds or more after asking
MESSAGE = "stopped by SIGTERM: run the same command again, it goes on from here"


class Stopped(SystemExit):
    """The process was asked to end."""

    def __init__(self) -> None:
        super().__init__(EXIT_CODE)


@dataclass
class Request:
    """Whether the process was asked to end, and whether somebody will see to it between two steps.

    `is_heard`: a request would be heard at all.
    """

    is_made: bool = False
    waits: bool = False
    is_heard: bool = False


_request = Request()


@contextmanager
def stoppable() -> Iterator[Request]:
    """Inside, SIGTERM raises `Stopped`, so that everything that is open is closed.

    Signals come to the main thread alone; elsewhere nothing is changed.
    """
    _request.is_made = _request.waits = False
    if threading.current_thread() is not threading.main_thread():
        yield _request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGALRM, _stop_now)
    _request.is_heard = True
    try:
        yield _request
    finally:
        _request.is_made = _request.is_heard = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def between_steps() -> Iterator[Request]:
    """Inside, SIGTERM waits for who looks at the request between steps, but not longer than `GRACE_S`.

    Raises:
        Stopped: at the end, if nobody looked in time.
    """
    _request.waits = True
    try:
        yield _request
    finally:
        _request.waits = False
    if _request.is_made:
        raise Stopped


def listen() -> None:
    """Inside `stoppable`, take SIGTERM back from a library that has put its own answer before ours."""
    if _request.is_heard:
        signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    if _request.is_made:
        return
    _request.is_made = True
    # once more, if nobody looks in time, or where Python swallows what is raised now: in a finaliser
    signal.setitimer(signal.ITIMER_REAL, GRACE_S)
    if not _request.waits:
        raise Stopped


def _stop_now(number: int, frame: FrameType | None) -> None:
    raise Stopped
