"""`TrainingBar`: steps, loss, tokens per second and the time left, while a model is tuned."""

from __future__ import annotations

from typing import Any

import lightning
from lightning.pytorch.callbacks import ProgressBar
from rich.progress import Progress, TaskID

from taskdepth import terminal
from taskdepth.models.tuner import InstructionTuner
from taskdepth.types import LMBatch

TOLD_EVERY_S = 0.5  # a loss on a GPU has to be waited for


class TrainingBar(ProgressBar):
    """One line for the whole training, and one for each validation while it lasts."""

    def __init__(self) -> None:
        super().__init__()
        self._progress: Progress | None = None
        self._training: TaskID | None = None
        self._validating: TaskID | None = None
        self._tokens = 0
        self._told_s = 0.0

    def disable(self) -> None:  # of other ranks than the first
        self._stop()
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    _enabled = True

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if self._enabled and isinstance(pl_module, InstructionTuner):
            self._progress = terminal.progress("steps")
            self._training = self._progress.add_task(
                "train", total=pl_module.n_steps, completed=trainer.global_step, tokens=0
            )
            self._progress.start()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if self._progress is None or self._training is None:
            return
        if isinstance(batch, LMBatch):
            self._tokens += sum(batch.lengths_tokens) * trainer.world_size
        now_s = self._progress.get_time()
        is_last = (
            isinstance(pl_module, InstructionTuner) and trainer.global_step == pl_module.n_steps
        )
        if now_s - self._told_s < TOLD_EVERY_S and not is_last:
            return
        self._told_s = now_s
        loss = trainer.progress_bar_metrics.get("train/loss")
        self._progress.update(
            self._training,
            completed=trainer.global_step,
            tokens=self._tokens,
            what="" if loss is None else f"loss {float(loss):.3f}",
        )

    def on_validation_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if self._progress is not None:
            self._validating = self._progress.add_task(
                "validate", total=int(sum(trainer.num_val_batches))
            )

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        if self._progress is not None and self._validating is not None:
            self._progress.advance(self._validating)

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if self._progress is not None and self._validating is not None:
            self._progress.remove_task(self._validating)
            self._validating = None

    def on_train_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        self._stop()

    def on_exception(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        exception: BaseException,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = self._training = self._validating = None
