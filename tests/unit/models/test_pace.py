from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

import small_fit
from small_fit import NAMES, ByHand, row_loss
from taskdepth.models.balance import CoBa, SelfPaced
from taskdepth.models.loading import LanguageModel
from taskdepth.models.pace import Pace
from tiny import tiny_llama


class Seen:
    """What a balancer was told."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.progress: list[float] = []

    def of(self, balancer: Any) -> Any:
        observe = balancer.observe

        def noted(losses: Tensor, progress: float) -> None:
            self.losses.append(losses.clone())
            self.progress.append(progress)
            observe(losses, progress)

        balancer.observe = noted
        return balancer


def test_self_paced_is_told_the_training_losses_since_the_last_time(tiny: LanguageModel) -> None:
    seen, by_hand = Seen(), ByHand()
    balancer = seen.of(SelfPaced(3))
    tuner, _ = small_fit.run(
        tiny, [Pace(balancer, every_n_steps=4), by_hand], balance="self_paced", n_steps=10
    )
    assert seen.progress == [0.4, 0.8]
    for interval, losses in enumerate(seen.losses):
        steps = slice(4 * interval, 4 * interval + 4)
        expected = sum(by_hand.loss[steps]) / sum(by_hand.n_tokens[steps])
        torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-6, equal_nan=True)
    assert torch.equal(tuner.task_weights, balancer.weights)
    assert tuner.task_weights.unique().numel() > 1, "the tasks' losses differ"


def test_a_task_that_was_not_seen_in_an_interval_is_undefined(tiny: LanguageModel) -> None:
    seen, by_hand = Seen(), ByHand()
    pace = Pace(seen.of(SelfPaced(3)), every_n_steps=1)
    small_fit.run(tiny, [pace, by_hand], balance="self_paced")
    absent = torch.stack(by_hand.n_tokens) == 0
    assert absent.any()
    assert torch.equal(torch.stack(seen.losses).isnan(), absent)


class Validated(Callback):
    """After each interval the losses by hand of the validation batch whose turn it is."""

    def __init__(self, every_n_steps: int) -> None:
        self.losses: list[Tensor] = []
        self.training: list[bool] = []
        self._every_n_steps = every_n_steps

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.training.append(pl_module.lm.training)
        turn, rest = divmod(trainer.global_step, self._every_n_steps)
        if rest or turn == len(self.losses):
            return
        batches = list(trainer.datamodule.val_dataloader())
        scoring = batches[(turn - 1) % len(batches)]
        sums = torch.zeros(2, len(NAMES), dtype=torch.float64)
        first = scoring.is_first.nonzero().flatten().tolist()
        for row, task in zip(first, scoring.task_index.tolist(), strict=True):
            loss, n = row_loss(pl_module.lm, scoring.batch, row)
            sums[:, task] += torch.tensor([loss, n])
        self.losses.append(sums[0] / sums[1])


def test_coba_is_told_the_losses_of_validation_batches_in_turn(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskdepth.data.module.SCORED_ROWS_PER_EXAMPLE", 2)
    seen, expected = Seen(), Validated(2)
    balancer = seen.of(CoBa(3, warmup=2))
    tuner, trainer = small_fit.run(
        tiny, [Pace(balancer, every_n_steps=2), expected], balance="coba", max_epochs=-1
    )
    n_batches = len(trainer.datamodule.val_dataloader())  # type: ignore[attr-defined]
    assert 1 < n_batches < len(seen.losses) == 6, "each has its turn, the first more than once"
    torch.testing.assert_close(
        torch.stack(seen.losses),
        torch.stack(expected.losses),
        rtol=1e-4,
        atol=1e-6,
        equal_nan=True,
    )
    assert torch.stack(seen.losses).isnan().any(), "no batch holds all tasks"
    assert all(expected.training), "and it goes on in train mode"
    assert torch.equal(tuner.task_weights, balancer.weights)
    assert tuner.task_weights.unique().numel() > 1
    assert float(tuner.task_weights.sum()) == pytest.approx(3, rel=1e-5)


def test_unseen_tasks_have_no_say_in_what_is_trained(tiny: LanguageModel) -> None:
    seen = Seen()
    pace = Pace(seen.of(CoBa(3, warmup=2)), every_n_steps=1)
    small_fit.run(tiny, [pace], balance="coba", n_steps=8, unseen=["echo"])
    losses = torch.stack(seen.losses)
    assert losses[:, NAMES.index("echo")].isnan().all()
    assert (~losses.isnan()).any(dim=0).tolist() == [True, False, True]


def test_accumulated_batches_are_one_step(tiny: LanguageModel) -> None:
    seen = Seen()
    pace = Pace(seen.of(SelfPaced(3)), every_n_steps=2)
    small_fit.run(tiny, [pace], balance="self_paced", n_steps=4, accumulated=3)
    assert seen.progress == [0.5, 1.0]


class Saved(Callback):
    """A checkpoint at the end of a step."""

    def __init__(self, path: Path, step: int) -> None:
        self._path, self._step = path, step

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step == self._step:
            trainer.save_checkpoint(self._path)


@pytest.mark.parametrize("step", [3, 4, 6])
@pytest.mark.parametrize("balance", ["self_paced", "coba"])
def test_a_resumed_fit_is_the_uninterrupted_one(balance: str, step: int, tmp_path: Path) -> None:
    def pace() -> Pace:
        balancer = SelfPaced(3) if balance == "self_paced" else CoBa(3, warmup=1)
        return Pace(balancer, every_n_steps=2)

    whole, resumed, other = tiny_llama(), tiny_llama(), tiny_llama(seed=1)
    before, after = pace(), pace()
    path = tmp_path / "step.ckpt"
    expected, _ = small_fit.run(whole, [before, Saved(path, step)], balance=balance, n_steps=9)
    assert expected.task_weights.unique().numel() > 1, "the weights have changed"
    # what the model was before the checkpoint is loaded is of no consequence
    resumed.lm.load_state_dict(other.lm.state_dict())
    found, trainer = small_fit.run(resumed, [after], balance=balance, n_steps=9, ckpt_path=path)
    assert trainer.global_step == 9
    assert torch.equal(found.task_weights, expected.task_weights)
    for name, value in expected.lm.state_dict().items():
        assert torch.equal(found.lm.state_dict()[name], value), name
    same = zip(leaves(after.state_dict()), leaves(before.state_dict()), strict=True)
    for ours, theirs in same:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def leaves(state: Any) -> list[Any]:
    if isinstance(state, dict):
        return [leaf for key in sorted(state) for leaf in leaves(state[key])]
    return [torch.tensor(math.nan) if state is None else torch.as_tensor(state)]
