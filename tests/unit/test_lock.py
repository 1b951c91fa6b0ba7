from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from taskdepth import lock
from taskdepth.errors import ResultsError


def owner(**changes: Any) -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": "now", "started": None} | (
        changes
    )


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_the_lock_says_who_writes_and_goes_with_him(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with lock.held(folder):
        said = json.loads((folder / lock.NAME).read_text())
        assert (said["host"], said["pid"]) == (socket.gethostname(), os.getpid())
        assert [path.name for path in folder.iterdir()] == [lock.NAME]
        (folder / "result").touch()
    assert [path.name for path in folder.iterdir()] == ["result"]
    with lock.held(folder):
        pass
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_a_folder_that_stays_empty_is_removed_but_only_if_it_is_new(tmp_path: Path) -> None:
    with lock.held(tmp_path / "new"):
        pass
    (tmp_path / "old").mkdir()
    with lock.held(tmp_path / "old"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(owner()), rf"process {os.getpid()} on {socket.gethostname()} since now"),
        (json.dumps(owner(host="elsewhere", pid=1)), "process 1 on elsewhere since now"),
        (json.dumps(owner(pid=1)), "process 1 on"),
        ("{torn", "another process: wait"),
    ],
    ids=["own", "another machine's", "another user's", "torn"],
)
def test_a_second_writer_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / lock.NAME).write_text(text)
    with pytest.raises(ResultsError, match=message) as raised, lock.held(tmp_path):
        pass
    assert "\n" not in str(raised.value)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(lock.NAME, text)]


@pytest.mark.parametrize("is_reused", [True, False])
def test_what_the_dead_left_is_taken_over(tmp_path: Path, is_reused: bool) -> None:
    """A process of another time may have the same number now."""
    gone = owner(started="1") if is_reused else owner(pid=dead_pid())
    (tmp_path / lock.NAME).write_text(json.dumps(gone))
    with lock.held(tmp_path):
        assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == os.getpid()


def test_of_many_that_find_a_dead_owner_one_gets_in(tmp_path: Path) -> None:
    """Who gets in stays there until all have tried."""
    (tmp_path / lock.NAME).write_text(json.dumps(owner(pid=dead_pid())))
    told, tell = os.pipe()
    waiting, all_tried = os.pipe()
    pids = []
    for _ in range(8):
        pids.append(os.fork())
        if pids[-1] == 0:
            try:
                with lock.held(tmp_path):
                    os.write(tell, b"i")
                    os.read(waiting, 1)
            except ResultsError:
                os.write(tell, b"n")
            os._exit(0)
    answers = [os.read(told, 1) for _ in pids]
    os.write(all_tried, b"!" * len(pids))
    for pid in pids:
        os.waitpid(pid, 0)
    assert sorted(answers) == [b"i"] + [b"n"] * 7
    for handle in (told, tell, waiting, all_tried):
        os.close(handle)


def test_a_dead_process_that_nobody_has_waited_for_is_dead(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        (tmp_path / lock.NAME).write_text(
            json.dumps(owner(pid=process.pid, started=lock._started(process.pid)))
        )
        with pytest.raises(ResultsError, match=f"process {process.pid}"), lock.held(tmp_path):
            pass
        process.kill()
        while lock._started(process.pid) is not None:
            pass  # it lies there until it is waited for
        with lock.held(tmp_path):
            assert str(os.getpid()) in (tmp_path / lock.NAME).read_text()
