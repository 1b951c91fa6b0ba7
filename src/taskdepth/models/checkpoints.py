"""Lightning's checkpoints, written so that none is ever half there, and found again."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from taskdepth.files import replacing
from taskdepth.stopping import Request, Stopped

LAST = "last.ckpt"


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's own way goes through the system's temporary folder: a move from there may be a copy."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        with replacing(Path(path)) as partial:
            torch.save(checkpoint, partial)


def damage(path: Path) -> str | None:
    """What is wrong with the checkpoint in `path`; None if it is what was written. Reads all of it.

    A folder (a sharded checkpoint) is not looked into.
    """
    if path.is_dir():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            torn = archive.testzip()
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        return f"{path} is damaged: {error}"
    return f"{path} is damaged: {torn} does not match its checksum" if torn else None


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


class StopBetweenSteps(Callback):
    """Leaves a checkpoint behind and ends the process once it was asked to end."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        takes_step = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if not (takes_step or trainer.is_last_batch):
            return  # what is accumulated would be lost
        if not trainer.strategy.reduce_boolean_decision(self._request.is_made, all=False):
            return
        saver = trainer.checkpoint_callback
        if isinstance(saver, ModelCheckpoint) and saver.dirpath:
            trainer.save_checkpoint(Path(saver.dirpath) / LAST)
        raise Stopped
