"""`experiment=placement_study`: every policy trained at equal parameters and tokens, and compared."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from taskdepth.config import PlacementConfig, TrainConfig, instantiate
from taskdepth.data.batches import Batching, ScoringBatches
from taskdepth.data.module import TaskDataModule
from taskdepth.data.rows import load
from taskdepth.data.tokenise import Tokeniser
from taskdepth.files import write_json
from taskdepth.models import adapters
from taskdepth.models.budget import block_costs
from taskdepth.models.loading import LanguageModel
from taskdepth.pipelines.adapting import adapt
from taskdepth.pipelines.fitting import fit
from taskdepth.pipelines.placing import (
    calibration_rows,
    model_scores,
    needed,
    needs_model,
    place,
    study_evidence,
)
from taskdepth.pipelines.scoring import score_tasks
from taskdepth.results.placement import ByTask, Fit, summarise, write_rows
from taskdepth.results.placement_figure import save_figure
from taskdepth.results.wording import spans
from taskdepth.selection.placement import LayerSelection
from taskdepth.tasks.spec import Source, TaskSpec
from taskdepth.types import Split

DataOf = Callable[[int], TaskDataModule]  # by seed

ROWS = "placement.parquet"
FIGURE = "placement.png"
SCHEMA_VERSION = 1  # of the record of one fit


def placement_study(
    config: TrainConfig,
    model: LanguageModel,
    specs: Sequence[TaskSpec],
    data_of: DataOf,
    scoring: ScoringBatches,
    folder: Path,
    console: Console,
) -> dict[str, Any]:
    """Train and score every policy with every seed; what is done already is not done again.

    `folder` then holds `policies/<policy>/selection.yaml` for the next run of train.py, a record of every
    fit, all scores and a figure. Policies that chose the same blocks share their fits.

    Returns:
        what `placement.json` says.

    Raises:
        TaskdepthError: the study of probe.py does not fit the model, or a policy cannot be trained.
    """
    _to_device(config, model.lm)
    peft_config = instantiate(config.adapter.peft)
    costs = block_costs(model.lm, peft_config)
    n_blocks = len(costs.fixed)
    budget = costs.parameters(dict.fromkeys(range(n_blocks), peft_config.r))
    placement = config.placement
    regions, scores = study_evidence(placement, n_blocks, config.seed)
    if needs_model(placement.policies):
        rows = data_of(config.seed).training.rows
        chosen = calibration_rows(rows, placement.calibration_rows, config.seed)
        scores |= model_scores(model.lm, needed(placement.policies), chosen, peft_config)
    placed, left_out = place(
        placement, str(model.path or config.model.name), costs, budget, regions, scores
    )
    for policy, reason in left_out.items():
        console.print(f"left out: {policy}: {reason}")
    for policy, by_seed in placed.items():
        by_seed[placement.seeds[0]].write(folder / "policies" / policy / "selection.yaml")
    untuned = _untuned(model, scoring, specs, folder)
    fits = _train_all(config, model, specs, placed, data_of, scoring, folder)
    clusters = {spec.name: spec.cluster for spec in specs}
    findings = summarise(
        fits,
        untuned,
        clusters,
        {policy: by_seed[placement.seeds[0]].reason for policy, by_seed in placed.items()},
        reference=placement.reference,
        score=placement.score,
    )
    write_rows(folder / ROWS, fits, untuned, clusters)
    save_figure(findings, folder / FIGURE)
    return {
        "model": model.path,
        "budget_parameters": budget,
        "left_out": left_out,
        "placement": findings.to_json(),
    }


def scoring_batches(
    placement: PlacementConfig,
    source: Source,
    specs: Sequence[TaskSpec],
    tokeniser: Tokeniser,
    batching: Batching,
) -> ScoringBatches:
    """The test rows that every model is scored on, with their wrong answers if these are to be ranked."""
    rows = [
        example if placement.ranking else replace(example, options=None)
        for spec in specs
        for example in load(source, spec, Split(placement.split), placement.examples_per_task)
    ]
    if not placement.ranking:
        specs = [replace(spec, labels=()) for spec in specs]
    return ScoringBatches(rows, specs, tokeniser, batching.examples * 4, batching.packed)


def _untuned(
    model: LanguageModel, scoring: ScoringBatches, specs: Sequence[TaskSpec], folder: Path
) -> ByTask:
    path = folder / "untuned.json"
    if not path.is_file():
        write_json(path, score_tasks(model.lm, scoring, [spec.name for spec in specs]))
    found: ByTask = json.loads(path.read_text(encoding="utf-8"))
    return found


def _train_all(
    config: TrainConfig,
    model: LanguageModel,
    specs: Sequence[TaskSpec],
    placed: Mapping[str, Mapping[int, LayerSelection]],
    data_of: DataOf,
    scoring: ScoringBatches,
    folder: Path,
) -> list[Fit]:
    """Seed by seed, so that what slows the machine down for a while slows all policies down."""
    fits: list[Fit] = []
    with _progress() as progress:
        bar = progress.add_task(
            "placement", total=len(placed) * len(config.placement.seeds), what=""
        )
        for seed in config.placement.seeds:
            data: TaskDataModule | None = (
                None  # one for all policies: the same rows in the same order
            )
            for policy, by_seed in placed.items():
                selection = by_seed[seed]
                progress.update(bar, what=f"{policy}, seed {seed}")
                record = folder / "fits" / f"blocks-{_name(selection)}" / f"seed-{seed}.json"
                if not record.is_file():
                    data = data_of(seed) if data is None else data
                    content = _train_one(config, model, specs, selection, seed, data, scoring)
                    write_json(record, content)
                fits.append(_fit(policy, json.loads(record.read_text(encoding="utf-8"))))
                progress.advance(bar)
        progress.update(bar, what="")
    return fits


def _train_one(
    config: TrainConfig,
    model: LanguageModel,
    specs: Sequence[TaskSpec],
    selection: LayerSelection,
    seed: int,
    data: TaskDataModule,
    scoring: ScoringBatches,
) -> dict[str, Any]:
    names = [spec.name for spec in specs]
    ranks = selection.rank_pattern or {}
    lightning.seed_everything(seed, verbose=False)
    lm = adapt(config, model, specs, data, selection.blocks, ranks)
    try:
        watch = _Watch()
        report = fit(lm, names, data, config, callbacks=[watch])
        _to_device(config, lm)  # Lightning leaves it on the CPU
        scores = score_tasks(lm, scoring, names)
    finally:
        adapters.detach(lm)
    return {
        "schema": SCHEMA_VERSION,
        "seed": seed,
        "blocks": selection.blocks,
        "ranks": [ranks[block] for block in selection.blocks],
        "parameters": report.trainable_parameters,
        "steps": report.steps,
        "tokens": watch.tokens,
        "seconds": report.seconds,
        "steps_per_s": watch.steps_per_s,
        "reused_blocks": report.reused_blocks,
        "train_loss": report.train_loss,
        "scores": scores,
    }


def _to_device(config: TrainConfig, lm: Any) -> None:
    """Where Lightning will train it."""
    if config.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        lm.to("cuda")


def _fit(policy: str, record: Mapping[str, Any]) -> Fit:
    names = ("seed", "parameters", "steps", "tokens", "seconds", "steps_per_s", "scores")
    return Fit(
        policy=policy,
        blocks=tuple(record["blocks"]),
        ranks=tuple(record["ranks"]),
        **{name: record[name] for name in names},
    )


def _name(selection: LayerSelection) -> str:
    """The blocks as a file name: 3-5_9."""
    return spans(selection.blocks).replace("–", "-").replace(", ", "_")


class _Watch(Callback):
    """What is learnt from, and how fast: the first batch, which sets things up, is not timed."""

    def __init__(self) -> None:
        self.tokens = 0
        self._n_timed = 0
        self._ended_s: float | None = None
        self._timed_s = 0.0

    @property
    def steps_per_s(self) -> float:
        return self._n_timed / self._timed_s if self._timed_s else float("nan")

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now_s = time.perf_counter()
        if self._ended_s is not None:
            self._timed_s += now_s - self._ended_s
            self._n_timed += 1
        self._ended_s = now_s
        self.tokens += sum(batch.lengths_tokens)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}"),
    )
