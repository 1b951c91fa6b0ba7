"""Tuning on several ranks is tuning on one: the same losses, weights and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

import small_fit
from taskdepth import ranks
from taskdepth.models.balance import SelfPaced
from taskdepth.models.pace import Pace
from taskdepth.models.task_log import TaskLog
from tiny import tiny_llama
from two_ranks import found_by

# examples: the rows of a batch; with a single one all ranks but one have none
CASES: dict[str, dict[str, Any]] = {
    "every token": {"balance": "token", "examples": 5, "accumulated": 2},
    "every example": {"balance": "example", "examples": 5},
    "every task": {"balance": "task", "examples": 5},
    "easy tasks first": {"balance": "self_paced", "examples": 5},
    "batches of one row": {"balance": "token", "examples": 1},
}


class Losses(Callback):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.seen.append(float(trainer.callback_metrics["train/loss"]))


def outcome(case: str, folder: Path) -> dict[str, Any]:
    model, losses, log = tiny_llama(2), Losses(), folder / f"{case}.jsonl"
    callbacks = [TaskLog(log, small_fit.CLUSTERS), losses]
    if "easy" in case:
        callbacks.append(Pace(SelfPaced(3), every_n_steps=2))
    options: dict[str, Any] = {"limit_val_batches": None, "log_every_n_steps": 3}
    tuner, trainer = small_fit.run(model, callbacks, n_steps=8, **CASES[case], **options)
    trainer.validate(tuner, datamodule=small_fit.data(model), verbose=False)
    return {
        "losses": losses.seen,
        "trained": tuner.trained.by_task(small_fit.NAMES),
        "validation": tuner.validation,
        "weights": {name: p.detach() for name, p in model.lm.named_parameters()},
        "log": log.read_text() if log.exists() else None,
    }


def work_of_a_rank(rank: int, folder: Path) -> None:
    own = folder / str(rank)
    own.mkdir()
    with ranks.joined("cpu"):
        torch.save({case: outcome(case, own) for case in CASES}, folder / f"{rank}.pt")


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def of_ranks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("tuned")
    return found_by(request.param, Path(__file__), folder, port=29504 + request.param)


@pytest.mark.parametrize("case", CASES)
def test_many_ranks_learn_what_one_learns(
    case: str, of_ranks: list[dict[str, Any]], tmp_path: Path
) -> None:
    alone = outcome(case, tmp_path)
    for found in (of_rank[case] for of_rank in of_ranks):
        torch.testing.assert_close(found["losses"], alone["losses"], rtol=1e-5, atol=0)
        for name, scores in alone["trained"].items():
            assert found["trained"][name] == pytest.approx(scores, rel=1e-5)
        for name, scores in alone["validation"].items():
            assert found["validation"][name] == pytest.approx(scores, rel=1e-5)
        for name, weight in alone["weights"].items():
            torch.testing.assert_close(found["weights"][name], weight, rtol=1e-4, atol=1e-5)


def test_the_first_rank_alone_writes(of_ranks: list[dict[str, Any]]) -> None:
    written = [of_rank["every token"]["log"] is not None for of_rank in of_ranks]
    assert written == [True] + [False] * (len(of_ranks) - 1)
