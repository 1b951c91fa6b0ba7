"""What `train.py` leaves in W&B beside the curves: scores, one table of tasks, and what was made from what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import wandb

from taskdepth.config import TrainConfig
from taskdepth.models.reference import refer
from taskdepth.results import lineage
from taskdepth.results.tracking import log_pictures
from taskdepth.types import Role

COLUMNS = ("task", "cluster", "rows", "train_loss", "loss", "exact_match", "rank_accuracy")


def log_outcome(run: Any, config: TrainConfig, metrics: Mapping[str, Any], folder: Path) -> None:
    """Log scores, the table of tasks, and what the model was made from.

    `metrics` are those of metrics.json or controls.json; the model lies in `folder`.
    """
    for name, value in metrics.items():
        if isinstance(value, (int, float)):
            run.summary[name] = value
    rows = task_rows(metrics)
    losses = [row["loss"] for row in rows if row["loss"] is not None]
    if losses:
        run.summary["objective"] = fmean(losses)
    for score in ("loss", "exact_match", "rank_accuracy"):
        values = [row[score] for row in rows if row[score] is not None]
        if values:  # of control models too, of which metrics has no mean
            run.summary[f"validation_{score}"] = fmean(values)
    for task, about in metrics.get("tasks", {}).items():
        for score, value in about.get("evaluation", {}).items():
            run.summary[f"tasks/{config.evaluation.split}_{score}/{task}"] = value
    if rows:
        data = [[row[column] for column in COLUMNS] for row in rows]
        run.log({"tasks_table": wandb.Table(columns=list(COLUMNS), data=data)})
    if (picture := folder / "placement.png").is_file():
        log_pictures(run, {"placement": picture})
    _log_lineage(run, config, metrics, folder)


def task_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each task or control model: `COLUMNS`, None where it has no such score."""
    rows = [
        {
            **{column: about.get(column) for column in COLUMNS},
            "task": task,
            "rows": (about.get("drawn") or {}).get("rows"),
            "train_loss": about["trained"].get("loss"),
        }
        for task, about in metrics.get("tasks", {}).items()
    ]
    for task, about in metrics.get("controls", {}).items():
        rows.append({column: about.get(column) for column in COLUMNS} | about["validation"])
        rows[-1]["task"] = task
    return rows


def _log_lineage(run: Any, config: TrainConfig, metrics: Mapping[str, Any], folder: Path) -> None:
    tasks = metrics.get("tasks") or metrics.get("controls") or {}
    read = {
        task: {"train": {"digest": about["rows_digest"]}}
        for task, about in tasks.items()
        if about.get("rows_digest")
    }
    if config.role == Role.PRETRAINED:  # plain text has no tasks
        read = {"plain_text": {"train": dict(metrics["training_data"])}}
    about = {"source": config.data.name, "path": config.data.path, "seed": config.seed}
    lineage.use(run, lineage.data_artifact(config.data.name, read, about))
    if config.model.path is not None and metrics["model"] is not None:
        name = refer(config.model.path, Role.PRETRAINED).name
        lineage.use(run, lineage.model_artifact(name, Path(metrics["model"])))
    if config.adapter.blocks_from is not None:
        selection = Path(config.adapter.blocks_from)
        artifact = lineage.files_artifact(
            f"selection-{selection.parent.name}", "selection", [selection], {}
        )
        lineage.use(run, artifact)
    if (folder / "policies").is_dir():
        files = [folder / "placement.parquet", *sorted((folder / "policies").rglob("*.yaml"))]
        made = lineage.files_artifact(f"placement-{config.name}", "placement", files, {})
    elif (folder / "controls").is_dir():
        made = lineage.folder_artifact(config.name, "model", folder / "controls")
    else:
        has_adapter = (folder / "adapter").is_dir()
        made = lineage.model_artifact(config.name, folder / ("adapter" if has_adapter else "model"))
    run.log_artifact(made)
