"""The rows of `bench training` that tell of cached states and shared steps, on a tiny model."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import pytest

from taskdepth.bench import controls, prefix
from taskdepth.bench.model import in_turn
from taskdepth.data.tokenise import PromptFormat, Tokeniser
from taskdepth.errors import DataError, ModelError
from taskdepth.tasks.demo import DemoSource
from taskdepth.types import Split
from tiny import tiny_llama


def test_cached_states_give_the_losses_of_the_same_placement(tiny_folder: Path) -> None:
    tiny = tiny_llama()
    tokeniser = Tokeniser(tiny.tokenizer, PromptFormat(), 128, 128)
    rows = [r for r in tokeniser.rows(islice(in_turn(DemoSource(), Split.TRAIN), 16)) if r]
    same, every = prefix.run(tiny_folder, rows, n_steps=2)
    assert same.agrees
    assert (same.goal, every.goal) == (1.35, 1.8)
    assert same.ours_s == every.ours_s
    assert same.ratio == pytest.approx(same.theirs_s / same.ours_s)  # type: ignore[operator]
    assert "paid back after" in same.name


def test_control_models_at_once_have_the_losses_of_a_task_alone(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, batches = controls._batches(tiny_folder, None, n_steps=3)
    assert len(set(tasks)) == len(batches) == controls.N_TASKS
    found = controls._throughput(tiny_folder, batches)
    assert found.agrees
    assert found.agreement is not None
    assert found.agreement < 1e-5
    assert found.goal == 0.9
    trained: list[list[str]] = []
    monkeypatch.setattr(controls, "_train", lambda *given: trained.append(given[2]))
    processes = controls._processes(tiny_folder, None, tasks, 3)
    assert trained == [tasks, *([task] for task in tasks)]
    assert processes.goal == 2.0


def test_what_the_benchmark_cannot_do_is_said(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="are not enough: fewer --steps"):
        controls._batches(tiny_folder, None, n_steps=100_000)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ModelError, match="control models failed: no word"):
        controls._train(tiny_folder, None, ["t"], 1, tiny_folder)
