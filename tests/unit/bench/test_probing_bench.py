from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from taskdepth.bench import __main__ as command
from taskdepth.bench import probing, probing_folds, probing_memory, probing_problems
from taskdepth.bench.probing import Work
from taskdepth.bench.probing_folds import L2S
from taskdepth.bench.probing_problems import BenchProblem
from taskdepth.bench.row import BenchRow
from taskdepth.errors import DataError, ModelError
from taskdepth.probing.solver import fit_logistic

SINGLE = Work(standardised=True, l2s=(1.0,), control_task=False, tolerance=1e-7)


def problems() -> list[BenchProblem]:
    return list(probing_problems.synthetic(n_depths=3, d_model=8, shapes=((2, 60), (3, 45))))


def test_synthetic_problems_are_tasks_and_which_task_it_is() -> None:
    found = problems()
    assert [p.name for p in found] == ["2 classes", "3 classes", "task"]
    assert [tuple(p.x.shape) for p in found] == [(3, 60, 8), (3, 45, 8), (3, 105, 8)]
    assert [p.n_classes for p in found] == [2, 3, 2]
    assert found[2].y.bincount().tolist() == [60, 45]
    for p in found:
        torch.testing.assert_close(p.x.mean(dim=1), torch.zeros(3, 8), atol=1e-5, rtol=0)
        torch.testing.assert_close(p.x.std(dim=1, correction=0), torch.ones(3, 8))
        assert not torch.allclose(p.states, p.x)


@pytest.mark.parametrize(
    "work",
    [
        SINGLE,
        Work(standardised=False, l2s=(1.0,), control_task=False, tolerance=1e-7),
        Work(standardised=True, l2s=(1.0, 10.0), control_task=True, tolerance=1e-5),
        replace(SINGLE, theirs=probing.BY_NEWTON),
    ],
)
def test_both_sides_come_to_the_same_objectives(work: Work) -> None:
    for p in problems():
        found = probing._compared(p, work, every=1)
        assert found.ours_s > 0
        assert found.theirs_s > 0
        assert found.gap <= probing.AGREEMENT


@pytest.mark.parametrize("n_classes", [2, 3])
def test_their_objective_is_ours_at_their_parameters(n_classes: int) -> None:
    p = problems()[n_classes - 2]
    theirs = LogisticRegression(C=0.5, tol=1e-9, max_iter=1000).fit(p.x[0].double().numpy(), p.y)
    ours = fit_logistic(p.x[0], p.y, 2.0).objective.item()
    assert probing._objective(theirs, p.x[0], p.y, 2.0) == pytest.approx(ours, rel=1e-6)


def test_sides_that_differ_do_not_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "THEIR_MAX_STEPS", 1)  # far from the optimum
    row = probing._against_sklearn("n", problems()[:1], SINGLE, 1, 0.0)
    assert row.agrees is False
    assert not row.holds


def test_folds_are_told_as_a_share_of_the_limit() -> None:
    rows = probing_folds.folds_against_one_fit(problems())
    assert [row.goal for row in rows] == [1.0, None, None]
    assert rows[0].agreement is not None
    assert rows[0].agreement <= 0.05
    row = probing_folds._of_limit("n", one_s=2.0, ours_s=5.0)
    assert row.ratio == pytest.approx(1.2)
    assert "2.50 x one fit" in row.name
    assert (len(L2S), L2S[0], L2S[-1]) == (10, 1.0, pytest.approx(1e4))


@pytest.mark.slow
def test_memory_is_what_a_process_grows_by() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 2000, 400, generator=generator)
    row = probing_memory.memory(BenchProblem("p", x, x, torch.arange(2000) % 2))
    # the process holds the inputs themselves; few and small, they are less than what works on them
    assert 0.1 < row.ratio < 1.5
    assert "24 MiB" in row.against


def test_without_sklearn_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ModelError, match="scikit-learn is not installed: pip install"):
        probing._compared(problems()[0], SINGLE, every=1)


def test_a_model_without_data_is_refused() -> None:
    with pytest.raises(ModelError, match="--model and --data go together"):
        probing.run(Path("m"), None, 1)


def test_the_tasks_with_the_shortest_prompts_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing_problems, "N_TASKS", 2)
    for name, labels, words in [
        ("long", "ab", 9),
        ("one", "aa", 1),
        ("x", "ab", 2),
        ("y", "ba", 3),
    ]:
        rows = [
            {"example_id": f"{name}{i}", "split": "train", "prompt": f"{i} " * words}
            | {"targets": [label], "label": label}
            for i, label in enumerate(labels)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text)
    assert [spec.name for spec, _ in probing_problems._short_tasks(tmp_path)] == ["x", "y"]
    for name in ("x", "y", "long"):
        (tmp_path / f"{name}.jsonl").unlink()
    with pytest.raises(DataError, match="no two tasks"):
        probing_problems._short_tasks(tmp_path)


def test_the_command_hands_over_its_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def run(*settings: Any) -> list[BenchRow]:
        asked.append(settings)
        return [BenchRow("a", "b", 2.0, 1.0)]

    monkeypatch.setattr(probing, "run", run)
    given = ["bench", "probing", "--json", "--model", "m", "--data", "d", "--every", "2"]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 0
    assert asked == [(Path("m"), Path("d"), 2)]
    assert json.loads(capsys.readouterr().out)["rows"][0]["ratio"] == 2.0
