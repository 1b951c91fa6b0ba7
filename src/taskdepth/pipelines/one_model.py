"""One model on all its tasks, or on plain text: adapted, trained, saved and evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console

from taskdepth import ranks, terminal
from taskdepth.config import TrainConfig, instantiate
from taskdepth.data.module import PlainTextDataModule, TaskDataModule
from taskdepth.files import replacing_folder
from taskdepth.models import adapters
from taskdepth.models.checkpoints import newest
from taskdepth.models.loading import LanguageModel
from taskdepth.models.sharding import Sharding, whole_state
from taskdepth.models.starts import plain_state
from taskdepth.models.task_log import TaskLog
from taskdepth.pipelines.adapting import adapt
from taskdepth.pipelines.evaluating import evaluate
from taskdepth.pipelines.fitting import FitReport, fit
from taskdepth.pipelines.training_data import TrainingData
from taskdepth.pipelines.training_inputs import TrainingInputs
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import Role

if TYPE_CHECKING:
    from torch import Tensor, nn


def train_one_model(
    config: TrainConfig,
    inputs: TrainingInputs,
    model: LanguageModel,
    data: TrainingData,
    folder: Path,
    wandb_run: Any,
    console: Console,
) -> dict[str, Any]:
    """Train `model.lm` in place, or an adapter on it; `folder` then holds `model/` or `adapter/`.

    A run that was interrupted goes on from its last checkpoint.

    Returns:
        what `metrics.json` says.

    Raises:
        TaskdepthError: the model cannot be adapted, or the data or a checkpoint cannot be used.
    """
    specs = inputs.specs
    rows = data.of_plain_text() if config.role == Role.PRETRAINED else data.of_tasks(specs)
    lm = _wrapped(config, inputs, model, rows, console)
    report = _fit(config, lm, specs, rows, folder, wandb_run, console)
    # in parts on all ranks, or whole where it lies
    state = whole_state(lm, plain_state(lm)) if config.trainer.sharding != Sharding.NONE else None
    ranks.first_does(lambda: _save(config, model, lm, folder, state))
    metrics = _metrics(report, specs, rows, model, lm)
    if config.evaluation.enabled:
        evaluated = ranks.first_does(
            lambda: evaluate(
                lm, data.source, specs, data.tokeniser, config.evaluation, data.batching
            )
        )
        for task, scores in evaluated.items():
            metrics["tasks"][task]["evaluation"] = scores
    return metrics


def _wrapped(
    config: TrainConfig,
    inputs: TrainingInputs,
    model: LanguageModel,
    rows: TaskDataModule | PlainTextDataModule,
    console: Console,
) -> nn.Module:
    lm: nn.Module = model.lm
    if config.adapter.peft is None:
        return lm
    lm = adapt(config, model, inputs.specs, rows, inputs.blocks, inputs.rank_pattern)
    console.print(f"adapter in blocks {list(adapters.adapted_blocks(lm))}")
    return lm


def _fit(
    config: TrainConfig,
    lm: nn.Module,
    specs: Sequence[TaskSpec],
    rows: TaskDataModule | PlainTextDataModule,
    folder: Path,
    wandb_run: Any,
    console: Console,
) -> FitReport:
    names = [spec.name for spec in specs] if isinstance(rows, TaskDataModule) else ["plain_text"]
    callbacks: list[Callback] = [instantiate(callback) for callback in config.callbacks.values()]
    if config.output != terminal.Output.NORMAL:
        callbacks = [callback for callback in callbacks if not isinstance(callback, ProgressBar)]
    if isinstance(rows, TaskDataModule):
        clusters = {spec.name: spec.cluster for spec in specs}
        callbacks.insert(0, TaskLog(folder / "task_log.jsonl", clusters))
    return fit(
        lm,
        names,
        rows,
        config,
        callbacks=callbacks,
        logger=False if wandb_run is None else WandbLogger(experiment=wandb_run),
        ckpt_path=_checkpoint(config, folder, console),
    )


def _checkpoint(config: TrainConfig, folder: Path, console: Console) -> Path | None:
    """The last checkpoint of an interrupted run, or the named one."""
    last, problems = newest(folder / "checkpoints")
    for problem in problems:
        console.print(f"not used: {problem}")
    if last is not None:
        console.print(f"going on from {last}")
        return last
    return None if config.ckpt_path is None else Path(config.ckpt_path)


def _save(
    config: TrainConfig,
    model: LanguageModel,
    lm: nn.Module,
    folder: Path,
    state: Mapping[str, Tensor] | None,
) -> None:
    if config.adapter.peft is not None:
        adapters.save(lm, folder / "adapter", state)
    else:
        with replacing_folder(folder / "model") as partial:
            model.lm.save_pretrained(partial, state_dict=state)
            model.tokenizer.save_pretrained(partial)


def _metrics(
    report: FitReport,
    specs: Sequence[TaskSpec],
    rows: TaskDataModule | PlainTextDataModule,
    model: LanguageModel,
    lm: nn.Module,
) -> dict[str, Any]:
    adapted = list(adapters.adapted_blocks(lm))
    return {
        "model": model.path,
        "steps": report.steps,
        "epochs": report.epochs,
        "train_loss": report.train_loss,
        "validation_loss": report.mean("loss"),
        "validation_exact_match": report.mean("exact_match"),
        "validation_rank_accuracy": report.mean("rank_accuracy"),
        "trainable_parameters": report.trainable_parameters,
        "adapted_blocks": adapted or None,
        "reused_blocks": report.reused_blocks,
        "skipped_steps": [asdict(step) for step in report.skipped_steps],
        "training_data": rows.training.counts(),
        "tasks": _tasks(report, specs, rows),
    }


def _tasks(
    report: FitReport, specs: Sequence[TaskSpec], rows: TaskDataModule | PlainTextDataModule
) -> dict[str, dict[str, Any]]:
    """Task → its cluster, what was drawn of it, and its scores; `loss` and the like are of validation."""
    if not isinstance(rows, TaskDataModule):
        return {}
    drawn = rows.training.counts_by_task()
    return {
        spec.name: {
            "cluster": spec.cluster,
            "unseen": spec.name in rows.unseen,
            "drawn": drawn.get(spec.name),
            "rows_digest": rows.training.digests.get(spec.name),
            "trained": report.trained.get(spec.name, {}),
            **report.validation.get(spec.name, {}),
        }
        for spec in specs
    }
