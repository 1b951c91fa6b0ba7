from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import DummyLogger

import small_fit
from small_fit import CLUSTERS, N_VALIDATION, NAMES, ByHand
from taskdepth.models.loading import LanguageModel
from taskdepth.models.task_log import TaskLog


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Kept(DummyLogger):
    """What a logger is given under a task's name."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        if any(key.startswith(("train_", "validation_")) for key in metrics):
            self.metrics.append((step, metrics))


class TrainLoss(Callback):
    """The loss of each batch as the tuner logs it, times its target tokens: the batch's total."""

    def __init__(self) -> None:
        self.totals: list[float] = []

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, _: int
    ) -> None:
        mean = float(trainer.callback_metrics["train/loss"])
        self.totals.append(mean * int(batch.is_target.sum()))


def test_train_lines_hold_each_tasks_mean_since_the_last(
    tiny: LanguageModel, tmp_path: Path
) -> None:
    path, by_hand, loss = tmp_path / "new" / "log.jsonl", ByHand(), TrainLoss()
    log = TaskLog(path, CLUSTERS)
    small_fit.run(tiny, [log, by_hand, loss], n_steps=14, log_every_n_steps=6)
    found = lines(path)
    assert [(line["step"], line["split"]) for line in found] == [
        (6, "train"),
        (12, "train"),
        (14, "train"),
    ]
    for line, steps in zip(found, (slice(0, 6), slice(6, 12), slice(12, 14)), strict=True):
        losses, n_tokens = sum(by_hand.loss[steps]), sum(by_hand.n_tokens[steps])
        seen = {n: i for i, n in enumerate(NAMES) if n_tokens[i]}
        assert set(line["tasks"]) == set(seen)
        for task, i in seen.items():
            expected = float(losses[i] / n_tokens[i])
            assert line["tasks"][task]["loss"] == pytest.approx(expected, rel=1e-4)
            assert 0 <= line["tasks"][task]["accuracy"] <= 1
        total = sum(line["tasks"][task]["loss"] * float(n_tokens[i]) for task, i in seen.items())
        assert total == pytest.approx(sum(loss.totals[steps]), rel=1e-4)
        for cluster in set(CLUSTERS.values()):
            members = [i for task, i in seen.items() if CLUSTERS[task] == cluster]
            if not members:
                assert cluster not in line["clusters"]
                continue
            expected = float(losses[members].sum() / n_tokens[members].sum())
            assert line["clusters"][cluster]["loss"] == pytest.approx(expected, rel=1e-4)


def test_the_last_steps_of_an_epoch_are_told_too(tiny: LanguageModel, tmp_path: Path) -> None:
    """12 steps, by epochs and not by steps: 10, and the two that are left."""
    path = tmp_path / "log.jsonl"
    options = {"max_steps": -1, "max_epochs": 1, "log_every_n_steps": 10}
    small_fit.run(tiny, [TaskLog(path, CLUSTERS)], n_steps=12, **options)
    assert [line["step"] for line in lines(path)] == [10, 12]


def test_validation_lines_weigh_rows_and_not_tasks(tiny: LanguageModel, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    options = {"max_epochs": 4, "limit_val_batches": None, "log_every_n_steps": 100}
    tuner, _ = small_fit.run(tiny, [TaskLog(path, CLUSTERS)], n_steps=48, **options)
    found = [line for line in lines(path) if line["split"] == "validation"]
    assert [line["step"] for line in found] == [12, 24, 36, 48]
    tasks, clusters = found[-1]["tasks"], found[-1]["clusters"]
    assert tasks == tuner.validation
    assert set(tasks["mood"]) == {"loss", "exact_match", "rank_accuracy"}
    assert set(tasks["echo"]) == set(tasks["tale"]) == {"loss", "exact_match"}
    right = {task: tasks[task]["exact_match"] * n for task, n in N_VALIDATION.items()}
    short = (right["mood"] + right["echo"]) / (N_VALIDATION["mood"] + N_VALIDATION["echo"])
    assert clusters["short"]["exact_match"] == pytest.approx(short)
    mean_of_means = (tasks["mood"]["exact_match"] + tasks["echo"]["exact_match"]) / 2
    assert abs(short - mean_of_means) > 0.01, "the two ways differ here"
    assert clusters["short"]["rank_accuracy"] == tasks["mood"]["rank_accuracy"]
    assert clusters["long"] == tasks["tale"]


def test_the_logger_gets_what_the_line_holds(tiny: LanguageModel, tmp_path: Path) -> None:
    path, kept = tmp_path / "log.jsonl", Kept()
    options = {"max_epochs": 1, "limit_val_batches": None, "logger": kept, "log_every_n_steps": 12}
    small_fit.run(tiny, [TaskLog(path, CLUSTERS)], n_steps=12, **options)
    found = lines(path)
    assert [line["split"] for line in found] == ["train", "validation"]
    for line, (step, metrics) in zip(found, kept.metrics, strict=True):
        assert step == line["step"]
        expected = {}
        for group, prefix in (("tasks", "tasks/"), ("clusters", "")):
            for name, scores in line[group].items():
                for score, value in scores.items():
                    expected[f"{prefix}{line['split']}_{score}/{name}"] = value
        assert metrics == expected
    assert "train_loss/short" in kept.metrics[0][1]
    assert "tasks/validation_rank_accuracy/mood" in kept.metrics[1][1]


def test_accumulated_batches_are_told_once(tiny: LanguageModel, tmp_path: Path) -> None:
    path, by_hand = tmp_path / "log.jsonl", ByHand()
    small_fit.run(
        tiny,
        [TaskLog(path, CLUSTERS), by_hand],
        n_steps=4,
        accumulated=3,
        log_every_n_steps=2,
    )
    found = lines(path)
    assert [line["step"] for line in found] == [2, 4]
    first = sum(by_hand.loss[:6]) / sum(by_hand.n_tokens[:6])
    for task, scores in found[0]["tasks"].items():
        assert scores["loss"] == pytest.approx(float(first[NAMES.index(task)]), rel=1e-4)


def test_a_resumed_log_goes_on(tiny: LanguageModel, tmp_path: Path) -> None:
    """Stopped where a line was due: it is not written again by the next step's first batches."""
    path, checkpoint = tmp_path / "log.jsonl", tmp_path / "two.ckpt"
    options = {"n_steps": 4, "accumulated": 3, "log_every_n_steps": 1}
    _, trainer = small_fit.run(tiny, [TaskLog(path, CLUSTERS)], stop_at=2, **options)
    trainer.save_checkpoint(checkpoint)
    weights = tiny.lm.model.norm.weight.clone()
    small_fit.run(tiny, [TaskLog(path, CLUSTERS)], ckpt_path=checkpoint, **options)
    assert [line["step"] for line in lines(path)] == [1, 2, 3, 4]
    assert not torch.equal(weights, tiny.lm.model.norm.weight)
