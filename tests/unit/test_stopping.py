from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

import pytest

from taskdepth import stopping


def ask() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_ends_what_nobody_waits_for() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopping.stoppable() as request:
        with pytest.raises(stopping.Stopped) as raised:
            ask()
        assert request.is_made
        ask()  # a second one does not disturb what is being closed
    assert raised.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert not request.is_made, "the next command of this process was not asked"


def test_between_steps_it_waits_for_who_looks() -> None:
    done = []

    def step() -> None:
        with stopping.between_steps() as request:
            ask()
            done.append(request.is_made)

    with stopping.stoppable():
        with pytest.raises(stopping.Stopped):
            step()
        assert done == [True], "the step that was under way came to its end"
    with stopping.stoppable(), stopping.between_steps() as request:
        assert not request.is_made


class Finalised:
    def __del__(self) -> None:
        ask()


def test_what_python_swallows_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "GRACE_S", 0.05)
    swallowed: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda about: swallowed.append(about.exc_type))

    def work() -> None:
        Finalised()
        time.sleep(30)

    start_s = time.monotonic()
    with stopping.stoppable(), pytest.raises(stopping.Stopped):
        work()
    assert swallowed == [stopping.Stopped]
    assert time.monotonic() - start_s < 10


def test_it_waits_no_longer_than_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "GRACE_S", 0.05)

    def step() -> None:
        with stopping.between_steps():
            ask()
            time.sleep(30)

    start_s = time.monotonic()
    with stopping.stoppable(), pytest.raises(stopping.Stopped):
        step()
    assert time.monotonic() - start_s < 10
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_it_is_taken_back_from_others_but_only_inside() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def foreign(*_: Any) -> None:
        raise AssertionError("somebody else's answer")

    with stopping.stoppable():
        signal.signal(signal.SIGTERM, foreign)
        stopping.listen()
        with pytest.raises(stopping.Stopped):
            ask()
    stopping.listen()
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_another_thread_nothing_is_changed() -> None:
    before, found = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with stopping.stoppable(), stopping.between_steps():
            stopping.listen()
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]
