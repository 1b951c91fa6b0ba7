"""`train.py`: pre-train, tune on many tasks, or train one control model per task."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import lightning
from rich.console import Console

from taskdepth import launching, ranks, terminal
from taskdepth.config import TrainConfig
from taskdepth.files import write_json
from taskdepth.models import loading
from taskdepth.models.folder import revision_of
from taskdepth.models.loading import LanguageModel
from taskdepth.pipelines import starting_model, training_log
from taskdepth.pipelines.controls import train_controls
from taskdepth.pipelines.one_model import train_one_model
from taskdepth.pipelines.placement_study import placement_study, scoring_batches
from taskdepth.pipelines.training_data import training_data
from taskdepth.pipelines.training_inputs import TrainingInputs, gather
from taskdepth.pipelines.training_summary import summary
from taskdepth.results import placement_table, tracking
from taskdepth.run_directory import RunDirectory, opened
from taskdepth.tasks.spec import Source
from taskdepth.types import Role


@dataclass(frozen=True, slots=True)
class TrainResult:
    """`objective` is what a sweep minimises: the mean validation loss over tasks."""

    run_dir: Path
    objective: float | None
    metrics: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """For `output=json`."""
        return {"run_dir": str(self.run_dir), "objective": self.objective, "metrics": self.metrics}


def run(config: TrainConfig) -> TrainResult:
    """Train what `config.role` asks for and leave it in the run folder.

    Raises:
        TaskdepthError: the settings, data or model cannot be used, or the folder holds results.
    """
    with ExitStack() as held:
        if config.role == Role.CONTROL:
            return _run(config, held)
        with ranks.joined(config.trainer.accelerator):
            return _run(config, held)


def _run(config: TrainConfig, held: ExitStack) -> TrainResult:
    start_s = time.perf_counter()
    loading.check_quantization(config.model.quantization)
    console = terminal.set_up(config.output)
    inputs = gather(config)
    folder = inputs.folder
    revisions = {str(config.model.path): revision_of(folder)} if folder is not None else {}
    with ranks.joined("cpu"):  # control models need each other only to begin; the others are joined
        directory = held.enter_context(
            opened(Path(config.paths.run_dir), config, _finished_by(config), revisions=revisions)
        )
    lightning.seed_everything(config.seed, verbose=False)
    model = starting_model.load(config.model, folder, inputs.source, inputs.specs)
    trained = _train(config, inputs, model, directory.path, console)
    trained["seconds"] = round(time.perf_counter() - start_s, 3)
    if config.role == Role.CONTROL and not launching.is_first():
        return TrainResult(directory.path, None, trained)
    return ranks.first_does(lambda: _concluded(config, trained, inputs.source, directory, console))


def finished(config: TrainConfig) -> TrainResult | None:
    """What an earlier run with these settings came to; None where there is none that is complete."""
    run_dir = Path(config.paths.run_dir)
    if not RunDirectory.is_finished(run_dir, config, _finished_by(config)):
        return None
    metrics = json.loads((run_dir / _finished_by(config)).read_text(encoding="utf-8"))
    return TrainResult(run_dir, objective(metrics), metrics)


def objective(metrics: Mapping[str, Any]) -> float | None:
    """The mean over tasks of the validation loss: of the one model, or of each task's control model."""
    if "controls" not in metrics:
        loss: float | None = metrics.get("validation_loss")
        return loss
    scores = [control["validation"] for control in metrics["controls"].values()]
    losses = [score["loss"] for score in scores if "loss" in score]
    return fmean(losses) if losses else None


def _finished_by(config: TrainConfig) -> str:
    """The file that marks a run as complete."""
    if config.placement.policies:
        return placement_table.FILE
    return "controls.json" if config.role == Role.CONTROL else "metrics.json"


def _train(
    config: TrainConfig,
    inputs: TrainingInputs,
    model: LanguageModel,
    folder: Path,
    console: Console,
) -> dict[str, Any]:
    """A placement study, all control models, or one model; what the file of `_finished_by` will say."""
    specs = inputs.specs
    data = training_data(config, inputs, model, console)
    with tracking.tracked(
        config.logger,
        folder,
        part=tracking.Part(f"train-{config.role}"),
        name=config.name,
        config=asdict(config),
    ) as wandb_run:
        if config.placement.policies:
            unvalidated = replace(data, val_examples_per_task=0)  # scored on test rows instead
            metrics = placement_study(
                config,
                model,
                specs,
                lambda seed: replace(unvalidated, seed=seed).of_tasks(specs),
                scoring_batches(
                    config.placement, inputs.source, specs, data.tokeniser, data.batching
                ),
                folder,
                console,
            )
        elif config.role == Role.CONTROL:
            done = train_controls(
                config,
                model,
                specs,
                data.of_tasks,
                inputs.blocks,
                folder,
                leads=launching.is_first(),
            )
            metrics = {"model": model.path, "controls": done}
        else:
            metrics = train_one_model(config, inputs, model, data, folder, wandb_run, console)
        if wandb_run is not None:
            training_log.log_outcome(wandb_run, config, metrics, folder)
    return metrics


def _concluded(
    config: TrainConfig,
    trained: dict[str, Any],
    source: Source,
    directory: RunDirectory,
    console: Console,
) -> TrainResult:
    """Mark the run as complete, and tell what came out."""
    if skipped := {task: len(rows) for task, rows in source.skipped().items()}:
        write_json(directory / "skipped_rows.json", source.skipped())
        trained["skipped_rows"] = skipped
        n_rows = sum(skipped.values())
        rows = "1 row" if n_rows == 1 else f"{n_rows} rows"
        console.print(f"{rows} skipped: {directory / 'skipped_rows.json'}")
    directory.finish(trained)
    if "placement" in trained:
        console.print(placement_table.rich_table(trained["placement"]))
    terminal.say_results(
        console,
        f"done in {terminal.duration(trained['seconds'])}",
        summary(config, trained, directory.path),
    )
    return TrainResult(directory.path, objective(trained), trained)
