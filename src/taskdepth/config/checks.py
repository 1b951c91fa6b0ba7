"""What settings contradict each other or are impossible: told before anything loads, all at once."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from taskdepth.config.phrases import unknown
from taskdepth.config.probe_checks import probe_problems
from taskdepth.config.schemas import OUTPUTS, DataConfig, ProbeConfig, TrainConfig
from taskdepth.config.train_checks import train_problems
from taskdepth.trust import strange_targets

NEED_PATH = {
    "folder": "folder of JSONL, Parquet or CSV files",
    "alpaca": "JSON file, or folder of such files",
    "natural_instructions": "clone of allenai/natural-instructions",
}

LOGGER_MODES = ("auto", "online", "offline", "disabled")


def problems(config: TrainConfig | ProbeConfig) -> list[str]:
    """What is impossible or contradictory in `config`, one phrase each; empty when it is sound."""
    found = _data_problems(config.data) + _tasks_problems(config.tasks) + _trust_problems(config)
    found += unknown("output", [config.output], OUTPUTS)
    found += unknown("logger.mode", [config.logger.mode], LOGGER_MODES)
    if config.devices < 1:
        found.append(f"devices must be at least 1, not {config.devices}")
    if isinstance(config, TrainConfig):
        return found + train_problems(config)
    return found + probe_problems(config)


def _data_problems(data: DataConfig) -> list[str]:
    found = []
    if data.prompt_template.count("{prompt}") != 1:
        found.append(
            f"data.prompt_template must hold {{prompt}} once, not {data.prompt_template!r}"
        )
    if data.max_length_tokens is not None and data.max_length_tokens < 8:
        found.append(f"data.max_length_tokens={data.max_length_tokens} leaves no room for a prompt")
    found += unknown("data.on_error", [data.on_error], ("raise", "skip"))
    if data.shots < 0:
        found.append(f"data.shots must not be negative, it is {data.shots}")
    if data.name in NEED_PATH and not data.path:
        found.append(f"data={data.name} needs data.path=<{NEED_PATH[data.name]}>")
    return found


def _tasks_problems(tasks: Any) -> list[str]:
    if isinstance(tasks, str) or (
        isinstance(tasks, list) and all(isinstance(t, str) for t in tasks)
    ):
        return []
    return [f"tasks must be all, [a,b] or cluster:<name>, not {tasks!r}"]


def _trust_problems(config: TrainConfig | ProbeConfig) -> list[str]:
    """What would let a config from elsewhere write or run more than a run may."""
    found = list(strange_targets(asdict(config)))
    if Path(config.name).is_absolute() or ".." in Path(config.name).parts:
        found.append(f"name={config.name} leaves the folder of outputs: use a plain name")
    if isinstance(config, TrainConfig):
        run_dir = Path(config.paths.run_dir).resolve()
        found += [
            f"callbacks.{name}.dirpath={node['dirpath']} lies outside the run folder"
            for name, node in config.callbacks.items()
            if isinstance(node, dict)
            and node.get("dirpath") is not None
            and not Path(node["dirpath"]).resolve().is_relative_to(run_dir)
        ]
        section, trusted, path = "model", config.model.trust_remote_code, config.model.path
    else:
        section, trusted, path = "models", config.models.trust_remote_code, None
    if trusted is not None and (
        trusted.lower() in ("true", "false", "") or path not in (None, trusted)
    ):
        found.append(
            f"{section}.trust_remote_code={trusted} does not name the model: set it to its hub id or folder "
            "after you have read its code, or leave it null"
        )
    return found
