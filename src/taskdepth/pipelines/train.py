"""`train.py`: pre-train, tune on many tasks, or train one control model per task."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import lightning
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console

from taskdepth import launching, ranks, terminal
from taskdepth.config import TrainConfig, instantiate
from taskdepth.data.batches import Batching
from taskdepth.data.control_rows import ControlRows
from taskdepth.data.mixture import Draws, Mixture
from taskdepth.data.module import PlainTextDataModule, TaskDataModule
from taskdepth.data.rows import check_not_empty, load
from taskdepth.data.tokenise import Tokeniser
from taskdepth.errors import ConfigError, ModelError
from taskdepth.files import replacing_folder, write_json
from taskdepth.models import adapters, loading
from taskdepth.models.checkpoints import newest
from taskdepth.models.folder import revision_of
from taskdepth.models.loading import LanguageModel
from taskdepth.models.packing import can_pack
from taskdepth.models.reference import refer
from taskdepth.models.sharding import Sharding, whole_state
from taskdepth.models.starts import plain_state
from taskdepth.models.task_log import TaskLog
from taskdepth.pipelines import training_log
from taskdepth.pipelines.adapting import adapt
from taskdepth.pipelines.controls import train_controls
from taskdepth.pipelines.evaluating import evaluate
from taskdepth.pipelines.fitting import FitReport, fit
from taskdepth.pipelines.placement_study import FIGURE, placement_study, scoring_batches
from taskdepth.pipelines.sources import open_source, prompt_format
from taskdepth.results import placement_table, tracking
from taskdepth.run_directory import RunDirectory, opened
from taskdepth.selection.placement import LayerSelection, check_fits
from taskdepth.tasks.spec import Source, TaskSpec, select_tasks
from taskdepth.types import Role, Split

if TYPE_CHECKING:
    from torch import Tensor, nn


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
    source = open_source(config.data, config.seed)
    specs = select_tasks(source.specs(), config.tasks)
    unseen = _unseen(config, specs)
    # told before a model is loaded, and not after hours of training
    for spec in specs:
        if config.role != Role.PRETRAINED and spec.name not in unseen:
            check_not_empty(source, spec, Split.TRAIN)
        if config.evaluation.enabled:
            load(source, spec, Split(config.evaluation.split), limit=1)
        if config.placement.policies:
            load(source, spec, Split(config.placement.split), limit=1)
    selection = (
        LayerSelection.read(Path(config.adapter.blocks_from))
        if config.adapter.blocks_from
        else None
    )
    folder = _folder(config)
    if selection is not None:
        architecture = (
            instantiate(config.model.architecture)
            if folder is None
            else loading.load_config(folder, trust_remote_code=config.model.trust_remote_code)
        )
        check_fits(selection, architecture.num_hidden_layers)
        if selection.rank_pattern is not None and config.role == Role.CONTROL:
            raise ConfigError(
                f"{config.adapter.blocks_from} gives ranks by block, which control models do not take: "
                "remove its rank_pattern, or name adapter.blocks"
            )
    if config.ckpt_path is not None and not Path(config.ckpt_path).is_file():
        raise ConfigError(f"ckpt_path={config.ckpt_path}: there is no such checkpoint")
    revisions = {str(config.model.path): revision_of(folder)} if folder is not None else {}
    with ranks.joined("cpu"):  # control models need each other only to begin; the others are joined
        directory = held.enter_context(
            opened(Path(config.paths.run_dir), config, _finished_by(config), revisions=revisions)
        )
    lightning.seed_everything(config.seed, verbose=False)
    model = _load(config, folder, source, specs)
    trained = _train(config, model, source, specs, unseen, selection, directory, console)
    trained["seconds"] = round(time.perf_counter() - start_s, 3)
    if config.role == Role.CONTROL and not launching.is_first():
        return TrainResult(directory.path, None, trained)
    return ranks.first_does(lambda: _concluded(config, trained, source, directory, console))


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
    result = TrainResult(directory.path, objective(trained), trained)
    if "placement" in trained:
        console.print(placement_table.rich_table(trained["placement"]))
    terminal.say_results(
        console,
        f"done in {terminal.duration(trained['seconds'])}",
        {**_scores(trained), **_next_steps(config, result)},
    )
    return result


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


def _next_steps(config: TrainConfig, result: TrainResult) -> dict[str, object]:
    """Where things are, and what to do with them."""
    folder = terminal.shown(result.run_dir)
    found: dict[str, object] = {"run": folder}
    for name in ("adapter", "model", "controls", "task_log.jsonl", FIGURE):
        if (result.run_dir / name).exists():
            found[name.partition(".")[0].replace("_", " ")] = f"{folder}/{name}"
    if tracking.is_tracking(config.logger):
        found["W&B"] = tracking.where(config.logger, result.run_dir)
    if config.placement.policies:
        return found
    setting = {Role.PRETRAINED: "pretrained", Role.CONTROL: "controls"}.get(
        Role(config.role), "experimental"
    )
    found["next"] = f"python probe.py models.{setting}={folder} …"
    return found


def _unseen(config: TrainConfig, specs: Sequence[TaskSpec]) -> list[str]:
    """The names of the chosen tasks that are kept out of training."""
    if not config.mixture.unseen:
        return []
    chosen = {spec.name: spec for spec in specs}
    unseen = [spec.name for spec in select_tasks(chosen, config.mixture.unseen)]
    if len(unseen) == len(specs):
        raise ConfigError("mixture.unseen names every chosen task: nothing is left to train on")
    return unseen


def _batching(config: TrainConfig, model: LanguageModel, console: Console) -> Batching:
    settings = config.trainer
    routed = "Poly" in str((config.adapter.peft or {}).get("_target_"))  # by task, row by row
    packed = settings.packing and not settings.compile and not routed
    if packed and not can_pack(model.lm):
        packed = False
        console.print(
            f"{type(model.lm).__name__} cannot keep packed examples apart: they are padded"
        )
    return Batching(
        settings.batch_size_examples,
        settings.batch_tokens,
        packed,
        settings.accumulate_batches,
        settings.loss_balance,
    )


def _scores(trained: dict[str, Any]) -> dict[str, str]:
    """What came out, in a line or two."""
    if "placement" in trained:
        return {"verdict": str(trained["placement"]["verdict"])}
    if "controls" in trained:
        by_task = [control["validation"] for control in trained["controls"].values()]
        found = {"trained": f"{len(by_task)} control models"}
    else:
        by_task = list(trained["tasks"].values())
        loss = trained["train_loss"]
        of_loss = "" if loss is None else f", training loss {loss:.3f}"
        found = {"trained": f"{trained['steps']} steps{of_loss}"}
    evaluated = [task["evaluation"] for task in by_task if "evaluation" in task]
    lines = {"validation": _means(by_task), "evaluation": _means(evaluated)}
    return found | {name: line for name, line in lines.items() if line}


STYLES = {
    "loss": ".3f",
    **dict.fromkeys(("exact_match", "rank_accuracy", "accuracy", "f1", "rouge_l"), ".1%"),
}


def _means(by_task: Sequence[Mapping[str, Any]]) -> str:
    """The mean of each score over the tasks that have it."""
    parts = []
    for score, style in STYLES.items():
        values = [task[score] for task in by_task if score in task]
        if values:
            of = "" if len(values) == len(by_task) else f" of {len(values)}"
            parts.append(f"{score.replace('_', ' ')} {format(fmean(values), style)}{of}")
    return f"{', '.join(parts)} (means of {len(by_task)} tasks)" if parts else ""


def _finished_by(config: TrainConfig) -> str:
    if config.placement.policies:
        return placement_table.FILE
    return "controls.json" if config.role == Role.CONTROL else "metrics.json"


def _folder(config: TrainConfig) -> Path | None:
    if config.model.path is None:
        return None
    ref = refer(config.model.path, Role.PRETRAINED)
    if ref.adapter is not None:
        raise ModelError(
            f"model.path={config.model.path} is an adapter: name the model it belongs to"
        )
    return ranks.first_before_others(
        lambda: loading.local_folder(
            ref.path, config.model.revision, config.model.trust_remote_code
        )
    )


def _load(
    config: TrainConfig, folder: Path | None, source: Source, specs: Sequence[TaskSpec]
) -> LanguageModel:
    if folder is not None:
        return loading.load(
            folder,
            dtype=config.model.dtype,
            trust_remote_code=config.model.trust_remote_code,
            quantization=config.model.quantization,
        )
    texts = [*source.plain_text(Split.TRAIN)]
    texts += [
        f"{e.prompt}\n{e.target}" for s in specs for e in source.examples(s.name, Split.TRAIN)
    ]
    return loading.build(instantiate(config.model.architecture), texts, config.model.tokenizer_size)


def _train(
    config: TrainConfig,
    model: LanguageModel,
    source: Source,
    specs: Sequence[TaskSpec],
    unseen: Sequence[str],
    selection: LayerSelection | None,
    directory: RunDirectory,
    console: Console,
) -> dict[str, Any]:
    blocks, rank_pattern = config.adapter.blocks, None
    if selection is not None:
        blocks, rank_pattern = list(selection.blocks), selection.rank_pattern
    rates = asdict(config.mixture)
    del rates["unseen"]
    rates["weights"] = rates["weights"] or {}
    mixture = Mixture(**rates)
    tokeniser = Tokeniser(
        model.tokenizer,
        prompt_format(config.data),
        model.window_tokens,
        config.data.max_length_tokens,
    )

    batching = _batching(config, model, console)
    rows: Draws = mixture
    if config.role == Role.CONTROL:
        rows = ControlRows(mixture, source, specs, config.control.match)

    def data_of(
        chosen: Sequence[TaskSpec],
        seed: int = config.seed,
        val_examples: int | None = config.trainer.val_examples_per_task,
    ) -> TaskDataModule:
        return TaskDataModule(
            source,
            chosen,
            tokeniser,
            rows,
            batching=batching,
            seed=seed,
            val_examples_per_task=val_examples,
            unseen=unseen,
        )

    with tracking.tracked(
        config.logger,
        directory.path,
        part=tracking.Part(f"train-{config.role}"),
        name=config.name,
        config=asdict(config),
    ) as wandb_run:
        if config.placement.policies:
            metrics: dict[str, Any] = placement_study(
                config,
                model,
                specs,
                lambda seed: data_of(specs, seed, val_examples=0),  # scored on test rows instead
                scoring_batches(config.placement, source, specs, tokeniser, batching),
                directory.path,
                console,
            )
        elif config.role == Role.CONTROL:
            leads = launching.is_first()
            done = train_controls(
                config, model, specs, data_of, blocks, directory.path, leads=leads
            )
            metrics = {"model": model.path, "controls": done}
        else:
            data = (
                PlainTextDataModule(source, tokeniser, batching=batching, seed=config.seed)
                if config.role == Role.PRETRAINED
                else data_of(specs)
            )
            lm = _wrapped(config, model, specs, data, blocks, rank_pattern, console)
            metrics = _train_one(config, model, lm, specs, data, directory, wandb_run, console)
            if config.evaluation.enabled:
                evaluated = ranks.first_does(
                    lambda: evaluate(lm, source, specs, tokeniser, config.evaluation, batching)
                )
                for task, scores in evaluated.items():
                    metrics["tasks"][task]["evaluation"] = scores
        if wandb_run is not None:
            training_log.log_outcome(wandb_run, config, metrics, directory.path)
    return metrics


def _wrapped(
    config: TrainConfig,
    model: LanguageModel,
    specs: Sequence[TaskSpec],
    data: TaskDataModule | PlainTextDataModule,
    blocks: Sequence[int] | None,
    rank_pattern: Mapping[int, int] | None,
    console: Console,
) -> nn.Module:
    lm: nn.Module = model.lm
    if config.adapter.peft is None:
        return lm
    lm = adapt(config, model, specs, data, blocks, rank_pattern)
    console.print(f"adapter in blocks {list(adapters.adapted_blocks(lm))}")
    return lm


def _train_one(
    config: TrainConfig,
    model: LanguageModel,
    lm: nn.Module,
    specs: Sequence[TaskSpec],
    data: TaskDataModule | PlainTextDataModule,
    directory: RunDirectory,
    wandb_run: Any,
    console: Console,
) -> dict[str, Any]:
    names = [spec.name for spec in specs] if isinstance(data, TaskDataModule) else ["plain_text"]
    clusters = {spec.name: spec.cluster for spec in specs}
    callbacks: list[Callback] = [instantiate(callback) for callback in config.callbacks.values()]
    if config.output != terminal.Output.NORMAL:
        callbacks = [callback for callback in callbacks if not isinstance(callback, ProgressBar)]
    if isinstance(data, TaskDataModule):
        callbacks.insert(0, TaskLog(directory / "task_log.jsonl", clusters))
    report = fit(
        lm,
        names,
        data,
        config,
        callbacks=callbacks,
        logger=False if wandb_run is None else WandbLogger(experiment=wandb_run),
        ckpt_path=_checkpoint(config, directory, console),
    )
    # in parts on all ranks, or whole where it lies
    state = whole_state(lm, plain_state(lm)) if config.trainer.sharding != Sharding.NONE else None
    ranks.first_does(lambda: _save(config, model, lm, directory, state))
    return _metrics(report, specs, data, model, lm)


def _save(
    config: TrainConfig,
    model: LanguageModel,
    lm: nn.Module,
    directory: RunDirectory,
    state: Mapping[str, Tensor] | None,
) -> None:
    if config.adapter.peft is not None:
        adapters.save(lm, directory / "adapter", state)
    else:
        with replacing_folder(directory / "model") as folder:
            model.lm.save_pretrained(folder, state_dict=state)
            model.tokenizer.save_pretrained(folder)


def _checkpoint(config: TrainConfig, directory: RunDirectory, console: Console) -> Path | None:
    """The last checkpoint of an interrupted run, or the named one."""
    last, problems = newest(directory / "checkpoints")
    for problem in problems:
        console.print(f"not used: {problem}")
    if last is not None:
        console.print(f"going on from {last}")
        return last
    return None if config.ckpt_path is None else Path(config.ckpt_path)  # it exists: see run


def _metrics(
    report: FitReport,
    specs: Sequence[TaskSpec],
    data: TaskDataModule | PlainTextDataModule,
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
        "training_data": data.training.counts(),
        "tasks": _tasks(report, specs, data),
    }


def _tasks(
    report: FitReport, specs: Sequence[TaskSpec], data: TaskDataModule | PlainTextDataModule
) -> dict[str, dict[str, Any]]:
    """Task → its cluster, what was drawn of it, and its scores; `loss` and the like are of validation."""
    if not isinstance(data, TaskDataModule):
        return {}
    drawn = data.training.counts_by_task()
    return {
        spec.name: {
            "cluster": spec.cluster,
            "unseen": spec.name in data.unseen,
            "drawn": drawn.get(spec.name),
            "rows_digest": data.training.digests.get(spec.name),
            "trained": report.trained.get(spec.name, {}),
            **report.validation.get(spec.name, {}),
        }
        for spec in specs
    }
