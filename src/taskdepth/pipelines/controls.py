"""All control models by one load of the pre-trained model: an adapter per task, one after the other or several
at once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
from lightning.pytorch.callbacks import EarlyStopping
from rich.console import Console

from taskdepth import launching, terminal
from taskdepth.config import TrainConfig
from taskdepth.data.module import TaskDataModule
from taskdepth.errors import DataError, ModelError, TaskdepthError
from taskdepth.files import write_json
from taskdepth.models import adapters
from taskdepth.models.loading import LanguageModel
from taskdepth.pipelines.adapting import adapt
from taskdepth.pipelines.at_once import train_at_once, why_not
from taskdepth.pipelines.fitting import FitReport, fit
from taskdepth.pipelines.task_queue import TaskQueue
from taskdepth.seeds import stable_seed
from taskdepth.tasks.spec import TaskSpec

if TYPE_CHECKING:
    from peft import PeftModel

FAILED_FILE = "failed.json"
DataOf = Callable[[Sequence[TaskSpec]], TaskDataModule]
Outcomes = Iterator[tuple[TaskSpec, FitReport | TaskdepthError]]


def train_controls(
    config: TrainConfig,
    model: LanguageModel,
    specs: Sequence[TaskSpec],
    data_of: DataOf,
    blocks: Sequence[int] | None,
    folder: Path,
    *,
    leads: bool = True,
) -> dict[str, dict[str, Any]]:
    """Train `folder/controls/<task>/adapter` for every task; tasks that are done are not trained again.

    Several processes may be at it, and share the tasks. The one that `leads` stays until all are done,
    those that a dead one left behind included. A task that cannot be trained does not stop the others;
    `controls/failed.json` lists it, with the reason.

    Returns:
        task → what `controls.json` says of it; empty for a process that does not lead.

    Raises:
        TaskdepthError: some failed; it comes after all other tasks are trained and saved.
    """
    trainee = _Trainee(config, model, data_of, blocks, folder)
    queue = TaskQueue(specs, trainee.record)
    failed: dict[str, TaskdepthError] = {}
    failed_file = folder / "controls" / FAILED_FILE
    if leads:
        failed_file.unlink(missing_ok=True)
    with terminal.progress() as progress:
        bar = progress.add_task("control models", total=len(specs), completed=queue.n_done)
        while True:
            for spec, outcome in trainee.train(queue, specs, progress.console):
                if isinstance(outcome, TaskdepthError):
                    failed[spec.name] = outcome
                    progress.console.print(f"{spec.name} failed: {outcome}")
                    if leads:  # who also tries what failed elsewhere
                        told = {task: str(error) for task, error in failed.items()}
                        write_json(failed_file, told)
                else:
                    # last: it marks the task as done
                    record = _record(spec, outcome, trainee.digests[spec.name])
                    write_json(trainee.record(spec), record)
                queue.put_back(spec)
                progress.update(bar, completed=queue.n_done + len(failed))
            progress.update(bar, completed=queue.n_done + len(failed))
            if not leads:
                return {}
            if not queue.wait():
                break
    if failed:
        task, first = next(iter(failed.items()))
        raise type(first)(
            f"{len(failed)} of {len(specs)} control models failed (the others are saved), first {task}: "
            f"{first}; all of them: {failed_file}"
        )
    return {s.name: json.loads(trainee.record(s).read_text(encoding="utf-8")) for s in specs}


class _Trainee:
    """What a control model is made of, whichever task it is for."""

    def __init__(
        self,
        config: TrainConfig,
        model: LanguageModel,
        data_of: DataOf,
        blocks: Sequence[int] | None,
        folder: Path,
    ) -> None:
        self._config = config
        self._model = model
        self._data_of = data_of
        self._blocks = blocks
        self._folder = folder / "controls"
        self._checkpoints = folder / "checkpoints"
        if launching.is_one_of_many():
            self._checkpoints /= f"process-{launching.number()}"
        self.digests: dict[str, str] = {}  # of the rows that a task was trained on

    def record(self, spec: TaskSpec) -> Path:
        return self._folder / spec.name / "metrics.json"

    def train(self, queue: TaskQueue, specs: Sequence[TaskSpec], console: Console) -> Outcomes:
        """What becomes of every task that is free."""
        at_once = self._config.control.at_once
        # a task that is left over is trained as it would have been with the others
        if at_once > 1 and len(specs) > 1 and queue.n_done < len(specs):
            if (reason := self._why_not(specs)) is None:
                return train_at_once(self._config, self._model.lm, queue, self, self._checkpoints)
            console.print(f"control models one after the other, not {at_once} at once: {reason}")
        return self._one_by_one(queue)

    def _why_not(self, specs: Sequence[TaskSpec]) -> str | None:
        """Asked of the first task that can begin."""
        for spec in specs:
            try:
                wrapped = self.wear(spec, self.data(spec))
            except TaskdepthError:
                continue  # it will be told when its turn comes
            try:
                return why_not(self._config, wrapped)
            finally:
                adapters.detach(wrapped)
        return None

    def _one_by_one(self, queue: TaskQueue) -> Outcomes:
        while (spec := queue.take()) is not None:
            try:
                yield spec, self._train_one(spec)
            except TaskdepthError as error:
                yield spec, error

    def data(self, spec: TaskSpec) -> TaskDataModule:
        # the seed depends on the task's name, not on how many tasks came before it
        lightning.seed_everything(stable_seed(self._config.seed, spec.name) % 2**32, verbose=False)
        data = self._data_of([spec])
        if self._config.control.patience is not None and not len(data.val_dataloader()):
            raise DataError(f"control.patience needs validation rows: {spec.name} has none")
        self.digests[spec.name] = data.training.digests[spec.name]
        return data

    def wear(self, spec: TaskSpec, data: TaskDataModule) -> PeftModel:
        return adapt(self._config, self._model, [spec], data, self._blocks)

    def save(self, spec: TaskSpec, wrapped: PeftModel) -> None:
        adapters.save(wrapped, self._folder / spec.name / "adapter")

    def _train_one(self, spec: TaskSpec) -> FitReport:
        data = self.data(spec)
        wrapped = self.wear(spec, data)
        patience = self._config.control.patience
        stops = [] if patience is None else [EarlyStopping("val/loss", patience=patience)]
        try:
            report = fit(wrapped, [spec.name], data, self._config, callbacks=stops)
            if report.train_loss is not None and not math.isfinite(report.train_loss):
                raise ModelError(f"the loss of {spec.name} is no number after {report.steps} steps")
            self.save(spec, wrapped)
        finally:
            adapters.detach(wrapped)
        return report


def _record(spec: TaskSpec, report: FitReport, rows_digest: str) -> dict[str, Any]:
    return {
        "task": spec.name,
        "cluster": spec.cluster,
        "adapter": f"controls/{spec.name}/adapter",
        "rows_digest": rows_digest,
        "steps": report.steps,
        "train_loss": report.train_loss,
        "validation": report.validation.get(spec.name, {}),
        "trainable_parameters": report.trainable_parameters,
        "skipped_steps": [asdict(step) for step in report.skipped_steps],
        "seconds": round(report.seconds, 3),
    }
