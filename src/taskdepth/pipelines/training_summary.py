"""The lines that end a run of `train.py`: what came out, where it lies, and what to do with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from taskdepth import terminal
from taskdepth.config import TrainConfig
from taskdepth.pipelines.placement_study import FIGURE
from taskdepth.results import tracking
from taskdepth.types import Role

STYLES = {
    "loss": ".3f",
    **dict.fromkeys(("exact_match", "rank_accuracy", "accuracy", "f1", "rouge_l"), ".1%"),
}


def summary(config: TrainConfig, metrics: Mapping[str, Any], run_dir: Path) -> dict[str, object]:
    """What a line is about → the line. `metrics`: those of the file that marks the run as complete."""
    return {**_scores(metrics), **_next_steps(config, run_dir)}


def _scores(metrics: Mapping[str, Any]) -> dict[str, str]:
    """What came out, in a line or two."""
    if "placement" in metrics:
        return {"verdict": str(metrics["placement"]["verdict"])}
    if "controls" in metrics:
        by_task = [control["validation"] for control in metrics["controls"].values()]
        found = {"trained": f"{len(by_task)} control models"}
    else:
        by_task = list(metrics["tasks"].values())
        loss = metrics["train_loss"]
        of_loss = "" if loss is None else f", training loss {loss:.3f}"
        found = {"trained": f"{metrics['steps']} steps{of_loss}"}
    evaluated = [task["evaluation"] for task in by_task if "evaluation" in task]
    lines = {"validation": _means(by_task), "evaluation": _means(evaluated)}
    return found | {name: line for name, line in lines.items() if line}


def _means(by_task: Sequence[Mapping[str, Any]]) -> str:
    """The mean of each score over the tasks that have it."""
    parts = []
    for score, style in STYLES.items():
        values = [task[score] for task in by_task if score in task]
        if values:
            of = "" if len(values) == len(by_task) else f" of {len(values)}"
            parts.append(f"{score.replace('_', ' ')} {format(fmean(values), style)}{of}")
    return f"{', '.join(parts)} (means of {len(by_task)} tasks)" if parts else ""


def _next_steps(config: TrainConfig, run_dir: Path) -> dict[str, object]:
    """Where things are, and what to do with them."""
    folder = terminal.shown(run_dir)
    found: dict[str, object] = {"run": folder}
    for name in ("adapter", "model", "controls", "task_log.jsonl", FIGURE):
        if (run_dir / name).exists():
            found[name.partition(".")[0].replace("_", " ")] = f"{folder}/{name}"
    if tracking.is_tracking(config.logger):
        found["W&B"] = tracking.where(config.logger, run_dir)
    if config.placement.policies:
        return found
    setting = {Role.PRETRAINED: "pretrained", Role.CONTROL: "controls"}.get(
        Role(config.role), "experimental"
    )
    found["next"] = f"python probe.py models.{setting}={folder} …"
    return found
