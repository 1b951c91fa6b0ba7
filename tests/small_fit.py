"""A fit of a tiny model on three small tasks: what callbacks are tested in."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ProgressBar
from torch import Tensor

from taskdepth import ranks
from taskdepth.data.batches import Batching
from taskdepth.data.mixture import Mixture
from taskdepth.data.module import TaskDataModule
from taskdepth.data.tokenise import PromptFormat, Tokeniser
from taskdepth.models.bad_steps import OnBadStep, StepGuard
from taskdepth.models.loading import LanguageModel
from taskdepth.models.tuner import InstructionTuner, Schedule
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example, LMBatch, Split

SPECS = {
    "mood": TaskSpec("mood", "short", Kind.CLASSIFICATION, ("no", "yes")),
    "echo": TaskSpec("echo", "short", Kind.GENERATION),
    "tale": TaskSpec("tale", "long", Kind.GENERATION),
}
NAMES = tuple(SPECS)
CLUSTERS = {name: spec.cluster for name, spec in SPECS.items()}
N_VALIDATION = {"mood": 3, "echo": 7, "tale": 2}


class Tasks:
    """16 training rows a task, with targets of very different lengths."""

    def specs(self) -> dict[str, TaskSpec]:
        return SPECS

    def examples(self, task: str, split: Split) -> list[Example]:
        n = 16 if split is Split.TRAIN else N_VALIDATION[task]
        return [
            Example(f"{task}-{split}-{i}", task, f"The dog {i}", (_target(task, i),))
            for i in range(n)
        ]

    def plain_text(self, split: Split) -> list[str]:
        return []

    def skipped(self) -> dict[str, list[str]]:
        return {}


def _target(task: str, i: int) -> str:
    if task == "mood":
        return "yes" if i % 3 else "no"
    return f"a dog {i}" if task == "echo" else "the cat sleeps in the garden " * (1 + i % 2)


def data(
    tiny: LanguageModel,
    accumulated: int = 1,
    unseen: Sequence[str] = (),
    *,
    examples: int = 4,
    packed: bool = False,
) -> TaskDataModule:
    """12 batches of 4 rows an epoch, and validation in several batches."""
    tokeniser = Tokeniser(tiny.tokenizer, PromptFormat(), tiny.window_tokens)
    batching = Batching(examples, packed=packed, accumulated=accumulated)
    return TaskDataModule(
        Tasks(),
        list(SPECS.values()),
        tokeniser,
        Mixture(),
        batching=batching,
        seed=0,
        unseen=unseen,
    )


def run(
    tiny: LanguageModel,
    callbacks: Sequence[Callback],
    *,
    balance: str = "token",
    n_steps: int = 12,
    stop_at: int | None = None,
    accumulated: int = 1,
    unseen: Sequence[str] = (),
    ckpt_path: Path | None = None,
    examples: int = 4,
    on_bad_step: str = OnBadStep.STOP,
    **options: Any,
) -> tuple[InstructionTuner, lightning.Trainer]:
    """Tune for `n_steps`, or less: until `stop_at`."""
    rows = data(tiny, accumulated, unseen, examples=examples)
    tuner = InstructionTuner(
        tiny.lm,
        NAMES,
        functools.partial(torch.optim.AdamW, lr=1e-2),
        Schedule(n_steps),
        balance,
        guard=StepGuard(on_bad_step, rows.training.name_of),
    )
    trainer = lightning.Trainer(
        **{
            "max_steps": n_steps if stop_at is None else stop_at,
            "limit_val_batches": 0,
            "logger": False,
            "enable_checkpointing": False,
            **options,
        },
        callbacks=list(callbacks),
        accumulate_grad_batches=accumulated,
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        accelerator="cpu",
        **ranks.all_devices("cpu"),
    )
    trainer.fit(
        tuner,
        datamodule=rows,
        ckpt_path=ckpt_path,
        weights_only=bool(ckpt_path),
    )
    return tuner, trainer


class ByHand(Callback):
    """Each batch's loss per task before it is learnt: `loss[step]` and `n_tokens[step]`, `[n_tasks]`."""

    def __init__(self) -> None:
        self.loss: list[Tensor] = []
        self.n_tokens: list[Tensor] = []

    @torch.no_grad()
    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: Any, batch: LMBatch, batch_idx: int
    ) -> None:
        losses, n_tokens = torch.zeros(2, len(NAMES), dtype=torch.float64)
        for row, task in enumerate(batch.task_index.tolist()):
            loss, n = row_loss(pl_module.lm, batch, row)
            losses[task] += loss
            n_tokens[task] += n
        self.loss.append(losses)
        self.n_tokens.append(n_tokens)


def row_loss(lm: Any, batch: LMBatch, row: int) -> tuple[float, int]:
    """The summed loss of one padded row's target tokens, and how many they are; all by itself."""
    n = batch.lengths_tokens[row]
    ids, labels = batch.input_ids[row : row + 1, :n], batch.labels[row, 1:n]
    logits = lm(input_ids=ids).logits[0, :-1].log_softmax(-1)
    where = (labels >= 0).nonzero().flatten().tolist()
    return -sum(float(logits[i, labels[i]]) for i in where), len(where)
