"""`TaskLog`: the mixture's loss, token accuracy and tokens, task by task and cluster by cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from taskdepth.models.scores import TaskScores
from taskdepth.models.tuner import InstructionTuner


class TaskLog(Callback):
    """Every so many steps (the trainer's logging interval) and after each validation: a line and a log entry.

    The line goes to `path` as JSON: `step`, `split` (train, validation), `tasks` and `clusters`, each
    name → score → value. `train` is the mean since the last such line. The trainer's logger gets
    `<split>_<score>/<cluster>` and `tasks/<split>_<score>/<task>`. A run that goes on from a checkpoint
    beside the log drops the lines after it, which will be written again; any other begins with an empty log.
    """

    def __init__(self, path: Path, clusters: Mapping[str, str]) -> None:
        self._path = path
        self._clusters = dict(clusters)
        self._logged_at_step = 0
        self._validated_at_step = -1
        self._size_bytes = 0

    def on_fit_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        goes_on = trainer.ckpt_path and self._path.parent in Path(trainer.ckpt_path).parents
        if not goes_on:
            self._size_bytes, self._validated_at_step = 0, -1
        if self._path.is_file() and self._path.stat().st_size > self._size_bytes:
            os.truncate(self._path, self._size_bytes)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        step = trainer.global_step
        if not isinstance(pl_module, InstructionTuner) or step <= self._logged_at_step:
            return
        due = step % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        if due or step == pl_module.n_steps:
            self._logged_at_step = step
            self._log(trainer, "train", pl_module.recent)
            pl_module.recent.reset()

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        is_new = (
            trainer.global_step != self._validated_at_step
        )  # a resumed run may validate its end again
        if isinstance(pl_module, InstructionTuner) and is_new:
            self._validated_at_step = trainer.global_step
            self._log(trainer, "validation", pl_module.validated)

    def _log(self, trainer: lightning.Trainer, split: str, scores: TaskScores) -> None:
        tasks = scores.by_task(tuple(self._clusters))
        clusters = scores.by_group(self._clusters)
        if not trainer.is_global_zero:
            return  # it took part in the sums
        seen = {"tasks": _with_values(tasks), "clusters": _with_values(clusters)}
        line = {"step": trainer.global_step, "split": split, **seen}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
            self._size_bytes = file.tell()
        if trainer.logger is not None:
            flat = {
                f"{prefix}{split}_{score}/{name}": value
                for prefix, group in (("tasks/", seen["tasks"]), ("", seen["clusters"]))
                for name, values in group.items()
                for score, value in values.items()
            }
            trainer.logger.log_metrics(flat, step=trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        return {
            "logged_at_step": self._logged_at_step,
            "validated_at_step": self._validated_at_step,
            "size_bytes": self._size_bytes,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._logged_at_step = state_dict["logged_at_step"]
        self._validated_at_step = state_dict["validated_at_step"]
        self._size_bytes = state_dict["size_bytes"]


def _with_values(scores: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {name: values for name, values in scores.items() if values}
