"""All control models by one load of the pre-trained model: an adapter per task, one after the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning

from taskdepth import terminal
from taskdepth.config import TrainConfig
from taskdepth.data.module import TaskDataModule
from taskdepth.errors import TaskdepthError
from taskdepth.files import write_json
from taskdepth.models import adapters
from taskdepth.models.loading import LanguageModel
from taskdepth.pipelines.adapting import adapt
from taskdepth.pipelines.fitting import FitReport, fit
from taskdepth.seeds import stable_seed
from taskdepth.tasks.spec import TaskSpec

DataOf = Callable[[Sequence[TaskSpec]], TaskDataModule]


def train_controls(
    config: TrainConfig,
    model: LanguageModel,
    specs: Sequence[TaskSpec],
    data_of: DataOf,
    blocks: Sequence[int] | None,
    folder: Path,
) -> dict[str, dict[str, Any]]:
    """Train `folder/controls/<task>/adapter` for every task; tasks that are done are not trained again.

    A task that cannot be trained does not stop the others.

    Returns:
        task → what `controls.json` says of it.

    Raises:
        TaskdepthError: the first failure, after all other tasks are trained and saved.
    """
    done: dict[str, dict[str, Any]] = {}
    failed: dict[str, TaskdepthError] = {}
    with terminal.progress() as progress:
        bar = progress.add_task("control models", total=len(specs))
        for spec in specs:
            progress.update(bar, what=spec.name)
            record = folder / "controls" / spec.name / "metrics.json"
            try:
                if not record.is_file():
                    data = data_of([spec])
                    report = _train_one(config, model, spec, data, blocks, record.parent)
                    # last: it marks the task as done
                    write_json(record, _record(spec, report, data))
                done[spec.name] = json.loads(record.read_text(encoding="utf-8"))
            except TaskdepthError as error:
                failed[spec.name] = error
            progress.advance(bar)
        progress.update(bar, what="")
    if failed:
        task, first = next(iter(failed.items()))
        raise type(first)(
            f"{len(failed)} of {len(specs)} control models failed (the others are saved), first {task}: {first}"
        )
    return done


def _train_one(
    config: TrainConfig,
    model: LanguageModel,
    spec: TaskSpec,
    data: TaskDataModule,
    blocks: Sequence[int] | None,
    folder: Path,
) -> FitReport:
    # the seed depends on the task's name, not on how many tasks came before it
    lightning.seed_everything(stable_seed(config.seed, spec.name) % 2**32, verbose=False)
    wrapped = adapt(config, model, [spec], data, blocks)
    try:
        report = fit(wrapped, [spec.name], data, config)
        adapters.save(wrapped, folder / "adapter")
    finally:
        adapters.detach(wrapped)
    return report


def _record(spec: TaskSpec, report: FitReport, data: TaskDataModule) -> dict[str, Any]:
    return {
        "task": spec.name,
        "cluster": spec.cluster,
        "adapter": f"controls/{spec.name}/adapter",
        "rows_digest": data.training.digests[spec.name],
        "steps": report.steps,
        "train_loss": report.train_loss,
        "validation": report.validation.get(spec.name, {}),
        "trainable_parameters": report.trainable_parameters,
        "seconds": round(report.seconds, 3),
    }
