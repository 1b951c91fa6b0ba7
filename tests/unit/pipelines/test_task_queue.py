from __future__ import annotations

import os
from pathlib import Path

import pytest

from taskdepth.pipelines.task_queue import TaskQueue
from taskdepth.tasks.spec import Kind, TaskSpec

SPECS = [TaskSpec(name, "c", Kind.GENERATION) for name in ("one", "two", "three")]


def queue_in(folder: Path) -> TaskQueue:
    return TaskQueue(SPECS, lambda spec: folder / spec.name / "metrics.json")


def done(folder: Path, name: str) -> None:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "metrics.json").touch()


def names(queue: TaskQueue) -> list[str]:
    found = []
    while (spec := queue.take()) is not None:
        found.append(spec.name)
        queue.put_back(spec)
    return found


def test_what_is_done_is_not_taken_and_what_is_taken_by_nobody_else(tmp_path: Path) -> None:
    done(tmp_path, "one")
    queue, other = queue_in(tmp_path), queue_in(tmp_path)
    taken = queue.take()
    assert taken is not None
    assert taken.name == "two"
    assert names(other) == ["three"]
    queue.put_back(taken)
    assert names(other) == ["two"], "it was put back without being done"
    assert names(queue) == ["three"], "each is tried once"
    assert queue.n_done == 1


def test_what_is_reopened_is_done_again(tmp_path: Path) -> None:
    for name in ("one", "two"):
        done(tmp_path, name)
    queue = queue_in(tmp_path)
    assert queue.waiting == ["three"]
    assert queue.take_back("two") is None
    queue.reopen(["two"])
    assert queue.waiting == ["two", "three"]
    assert queue.take_back("two") == SPECS[1]
    assert queue.take_back("four") is None
    assert names(queue) == ["three"]


def test_others_who_share_the_tasks_are_not_disturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(tmp_path, "one")
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    monkeypatch.setitem(os.environ, "RANK", "1")
    queue = queue_in(tmp_path)
    queue.reopen(["one", "two"])
    assert queue.waiting == ["two", "three"]
    assert queue.take_back("one") is None
