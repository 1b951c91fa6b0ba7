"""Lightning's checkpoints, written so that none is ever half there, and found again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from taskdepth import stopping
from taskdepth.files import replacing
from taskdepth.stopping import Request, Stopped

LAST = "last.ckpt"
CHECKSUM_BYTES = 32


class WholeCheckpoints(TorchCheckpointIO):
    """Writes each checkpoint beside its place, and moves it there when it is whole.

    Lightning's own way goes through the system's temporary folder: a move from there may be a copy. A
    checkpoint is a zip archive; ours ends with a checksum of all its bytes, as the archive's comment.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        with replacing(Path(path)) as partial:
            with partial.open("wb") as file:  # by its name, torch hides why it could not write
                torch.save(checkpoint, file)
            _seal(partial)


def _seal(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)  # the length of the comment: torch writes none
        file.write(CHECKSUM_BYTES.to_bytes(2, "little"))
        file.seek(0)
        checksum = hashlib.file_digest(file, _checksum).digest()
        file.seek(0, os.SEEK_END)
        file.write(checksum)


def _checksum() -> Any:
    return hashlib.blake2b(digest_size=CHECKSUM_BYTES)


def damage(path: Path) -> str | None:
    """What is wrong with the checkpoint in `path`; None if it is what was written. Reads all of it.

    Of a folder (with parts of all ranks) only the index is looked for.
    """
    if path.is_dir():
        return None if (path / ".metadata").is_file() else f"{path} is damaged: it has no index"
    found = _checksum()
    with path.open("rb") as file:
        left = file.seek(0, os.SEEK_END) - CHECKSUM_BYTES
        file.seek(0)
        while left > 0 and (chunk := file.read(min(left, 1 << 22))):
            found.update(chunk)
            left -= len(chunk)
        expected = file.read()
    return None if expected == found.digest() else f"{path} is damaged: its checksum does not match"


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The checkpoint to go on from, and what is wrong with newer ones that cannot be used."""
    others = sorted(
        (path for path in folder.glob("*.ckpt") if path.name != LAST),
        key=lambda path: path.stat().st_mtime_ns,
        reverse=True,
    )
    problems: list[str] = []
    for path in [folder / LAST, *others]:
        if not path.exists():
            continue
        problem = damage(path)
        if problem is None:
            return path, problems
        problems.append(problem)
    return None, problems


def set_place(checkpoint: dict[str, Any], trainer: lightning.Trainer) -> None:
    """Have a checkpoint's loops say that the step which was not taken yet comes next, from its first batch.

    Lightning notes what was under way when it saved, and guesses from that what was done already. After the
    last batch of an epoch it loses the validation, and the next run to go on takes an epoch that has begun for
    one that has ended.
    """
    fit = checkpoint["loops"]["fit_loop"]
    batches = fit["epoch_loop.batch_progress"]
    epoch, n_begun = trainer.current_epoch, batches["current"]["processed"]
    n_undone = n_begun % trainer.accumulate_grad_batches
    if n_begun >= trainer.num_training_batches:
        epoch, n_begun, n_undone = epoch + 1, 0, 0
    next_batch, n_done = n_begun - n_undone, batches["total"]["processed"] - n_undone
    n_epochs = epoch + (next_batch > 0)
    fit["epoch_progress"] = _progress(_counts(n_epochs, epoch), _counts(n_epochs, epoch))
    fit["epoch_loop.batch_progress"] = {
        **_progress(_counts(n_done, n_done), _counts(next_batch, next_batch)),
        "is_last_batch": False,
    }
    fit["epoch_loop.state_dict"]["_batches_that_stepped"] = trainer.global_step
    fit["state_dict"]["combined_loader"] = [{"next_batch": next_batch}]


def _progress(total: dict[str, int], current: dict[str, int]) -> dict[str, Any]:
    return {"total": total, "current": current}


def _counts(begun: int, done: int) -> dict[str, int]:
    return {"ready": begun, "started": begun, "processed": done, "completed": done}


class StepCheckpoint(ModelCheckpoint):
    """Lightning's, but what is due with the last step of an epoch waits for the validation that follows."""

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if not trainer.is_last_batch:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, None, None, 0)  # it looks at the step alone
        super().on_train_epoch_end(trainer, pl_module)


class StopBetweenSteps(Callback):
    """Leaves a checkpoint behind and ends the process once it was asked to end."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        # Lightning's answer to SIGTERM ends in the middle of a step, and waits for ranks that were not asked
        stopping.listen()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # what is accumulated would be lost, and validation skipped
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0 and not trainer.is_last_batch:
            self._stop_if_asked(trainer)

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: lightning.Trainer) -> None:
        if not trainer.strategy.reduce_boolean_decision(self._request.is_made, all=False):
            return
        saver = trainer.checkpoint_callback
        if isinstance(saver, ModelCheckpoint) and saver.dirpath:
            trainer.save_checkpoint(Path(saver.dirpath) / LAST)
        raise Stopped
