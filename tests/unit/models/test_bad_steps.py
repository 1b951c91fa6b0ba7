"""Steps whose loss or gradient is no number, met in a real fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import small_fit
from taskdepth.data.collate import collate
from taskdepth.data.tokenise import TokenisedRow
from taskdepth.errors import ModelError
from taskdepth.models import tuner as tuner_module
from taskdepth.models.bad_steps import BadStep, OnBadStep, StepGuard
from taskdepth.models.checkpoints import LAST, StepCheckpoint, WholeCheckpoints
from taskdepth.models.targets import TargetTokens
from taskdepth.types import LMBatch
from tiny import tiny_llama

ROW = TokenisedRow("a", "t", (5, 6, 7), 2)
NAN, INF = float("nan"), float("inf")


def name_of(row: int) -> tuple[str, str]:
    return f"task{row // 10}", f"row-{row}"


def batch(*rows: int) -> LMBatch:
    return collate([ROW] * len(rows), [0] * len(rows), numbers=rows)


@pytest.mark.parametrize(
    ("losses", "gradient", "scaled", "expected"),
    [
        ([1.0, 2.0, 3.0], 1.0, False, None),
        ([1.0, NAN, 3.0], NAN, False, ("loss", ("task1",), ("row-11",))),
        ([1.0, INF, NAN], NAN, False, ("loss", ("task1", "task2"), ("row-11", "row-20"))),
        ([1.0, 2.0, 3.0], INF, False, ("gradient", ("task0", "task1", "task2"), None)),
        ([1.0, 2.0, 3.0], INF, True, None),  # the scaler's business
        ([1.0, NAN, 3.0], INF, True, ("loss", ("task1",), ("row-11",))),
        ([NAN, 2.0, 3.0], 1.0, False, None),  # it had no part in the step
    ],
)
def test_a_step_is_judged_by_its_gradient_and_told_by_its_rows(
    losses: list[float], gradient: float, scaled: bool, expected: Any
) -> None:
    guard = StepGuard("stop", name_of)
    guard.saw(batch(0, 11), torch.tensor(losses[:2]))
    guard.saw(batch(20), torch.tensor(losses[2:]))
    found = guard.judge([torch.ones(3), torch.tensor([gradient])], 7, scaled=scaled)
    if expected is None:
        assert found is None
    else:
        what, tasks, rows = expected
        assert found == BadStep(7, what, tasks, rows or ("row-0", "row-11", "row-20"))
        assert f"the {what} of step 7 is no number: {', '.join(tasks)}, rows" in str(found)
    assert guard.judge([torch.ones(1)], 8, scaled=False) is None, "the step before is forgotten"


def test_many_rows_are_counted_and_not_listed() -> None:
    bad = BadStep(1, "gradient", ("t",), tuple(f"row-{i}" for i in range(40)))
    assert str(bad).endswith("rows row-0, row-1, row-2, row-3, row-4, … (40 in all)")


def poisoned(monkeypatch: pytest.MonkeyPatch, is_bad: Callable[[Any, LMBatch], bool]) -> None:
    """The loss of each batch's second row is no number where `is_bad`."""
    score = tuner_module.score_targets
    step = tuner_module.InstructionTuner.training_step
    now: list[Any] = []

    def noted(self: Any, given: LMBatch, batch_idx: int) -> Tensor:
        now[:] = [self.trainer]
        return step(self, given, batch_idx)

    def scored(lm: nn.Module, given: LMBatch) -> TargetTokens:
        found = score(lm, given)
        if not is_bad(now[0], given):
            return found
        loss = torch.where(found.example == 1, found.loss * torch.nan, found.loss)
        return replace(found, loss=loss)

    monkeypatch.setattr(tuner_module.InstructionTuner, "training_step", noted)
    monkeypatch.setattr(tuner_module, "score_targets", scored)


def tuned(folder: Path, ckpt_path: Path | None = None, **options: Any) -> tuple[Any, Any, Any]:
    model = tiny_llama(n_blocks=1)
    saver = StepCheckpoint(folder, every_n_train_steps=5, save_last=True)
    options |= {"enable_checkpointing": True, "plugins": [WholeCheckpoints()], "accumulated": 3}
    tuner, trainer = small_fit.run(model, [saver], n_steps=6, ckpt_path=ckpt_path, **options)
    return model.lm.state_dict(), tuner, trainer


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
def test_a_bad_step_stops_with_the_state_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its batches are three, the second has a bad row; mended, it ends as if nothing had been."""
    expected, whole, _ = tuned(tmp_path / "whole")
    with monkeypatch.context() as patch:
        poisoned(
            patch,
            lambda trainer, _: trainer.global_step == 3 and trainer.fit_loop.batch_idx % 3 == 1,
        )
        with pytest.raises(ModelError) as raised:
            tuned(tmp_path / "cut")
    said = str(raised.value)
    last = tmp_path / "cut" / LAST
    assert said.startswith("the loss of step 4 is no number: ")
    assert f"the weights are those before it ({last})" in said
    assert "trainer.on_bad_step=skip" in said
    rows = whole._guard._name_of
    names = {rows(i) for i in range(len(small_fit.data(tiny_llama()).training.rows))}
    task, row = said.split(": ")[1].split(";")[0].split(", rows ")
    assert (task, row) in names
    found, gone_on, _ = tuned(tmp_path / "cut", last)
    for name, weights in expected.items():
        assert torch.equal(found[name], weights), name
    for score in ("loss", "accuracy"):
        assert torch.equal(gone_on.trained[score].sums(), whole.trained[score].sums())
    assert gone_on.last_loss == whole.last_loss


def test_a_skipped_step_changes_nothing_and_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[bool, dict[str, Tensor]]] = []

    def is_bad(trainer: Any, _: LMBatch) -> bool:
        here = trainer.global_step == 3 and trainer.fit_loop.batch_idx % 3 == 1
        lm = trainer.lightning_module.lm
        seen.append((here, {n: p.detach().clone() for n, p in lm.named_parameters()}))
        return here

    poisoned(monkeypatch, is_bad)
    weights, tuner, trainer = tuned(tmp_path, on_bad_step=OnBadStep.SKIP)
    assert trainer.global_step == 6
    (skipped,) = tuner._guard.skipped
    assert (skipped.step, skipped.what, len(skipped.rows)) == (4, "loss", 1)
    assert f"step left out: {skipped}" in capsys.readouterr().err
    before, after = seen[9][1], seen[12][1]  # of the steps 4 and 5
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not all(torch.equal(seen[15][1][name], value) for name, value in after.items())
    assert all(value.isfinite().all() for value in weights.values())
    assert tuner.trained["loss"].means().nan_to_num(0.0).isfinite().all()
    assert tuner.last_loss.isfinite()
    state = torch.load(tmp_path / LAST, weights_only=True)
    assert [step["rows"] for step in state["skipped_steps"]] == [skipped.rows]
