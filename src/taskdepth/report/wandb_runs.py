"""The runs that a W&B Report is about, as far as it needs them: read from their folders, not from W&B."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from taskdepth.errors import ResultsError
from taskdepth.results.findings import Findings, summarise
from taskdepth.results.gain import gain_grid
from taskdepth.results.layer_grid import LayerGrid
from taskdepth.results.table import LayerTable
from taskdepth.run_directory import flat
from taskdepth.selection.placement import LayerSelection

NOT_COMPARED = ("name", "overwrite", "ckpt_path", "stages")
NOT_COMPARED_GROUPS = ("paths.", "logger.", "callbacks.", "report.")


@dataclass(frozen=True, slots=True, eq=False)
class StudyRun:
    """A finished run of probe.py. `roles` are the models it looked at."""

    name: str
    folder: Path
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    findings: Findings
    roles: tuple[str, ...]
    pictures: tuple[str, ...]
    selection: LayerSelection | None
    gain: LayerGrid | None


@dataclass(frozen=True, slots=True, eq=False)
class PlacementRun:
    """A finished placement study. `found` is what its `placement.json` says."""

    name: str
    folder: Path
    settings: Mapping[str, Any]
    found: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class TunedRun:
    """A finished run of train.py."""

    name: str
    folder: Path
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @property
    def blocks(self) -> tuple[int, ...]:
        """The blocks that were adapted; none where all weights were tuned."""
        return tuple(self.metrics.get("adapted_blocks") or ())

    @property
    def by_task(self) -> dict[str, Mapping[str, Any]]:
        """Task → its validation scores: of the one model, or of the task's control model."""
        controls = self.metrics.get("controls", {})
        return dict(self.metrics.get("tasks") or {t: c["validation"] for t, c in controls.items()})

    def mean(self, score: str) -> float | None:
        """The mean of a validation score over the tasks that have it."""
        values = [task[score] for task in self.by_task.values() if task.get(score) is not None]
        return fmean(values) if values else None

    @property
    def trainable_parameters(self) -> int | None:
        """How many weights learn; of control models, in each."""
        controls = self.metrics.get("controls", {}).values()
        found = self.metrics.get("trainable_parameters")
        return (
            found
            if found is not None
            else max((c["trainable_parameters"] for c in controls), default=None)
        )


@dataclass(frozen=True, slots=True)
class Runs:
    """All that a report is about, in the order in which it was named."""

    studies: tuple[StudyRun, ...] = ()
    placements: tuple[PlacementRun, ...] = ()
    tuned: tuple[TunedRun, ...] = ()

    def all(self) -> list[StudyRun | PlacementRun | TunedRun]:
        return [*self.studies, *self.placements, *self.tuned]


def read_runs(folders: Sequence[Path]) -> Runs:
    """Read the runs in `folders`.

    Raises:
        ResultsError: a folder holds no finished run, or two runs have the same name.
    """
    studies: list[StudyRun] = []
    placements: list[PlacementRun] = []
    tuned: list[TunedRun] = []
    for folder in folders:
        if (folder / "layers.parquet").is_file():
            studies.append(_read_study(folder))
        elif (folder / "placement.json").is_file():
            placements.append(_read_placement(folder))
        elif (folder / "metrics.json").is_file() or (folder / "controls.json").is_file():
            tuned.append(_read_tuned(folder))
        else:
            raise ResultsError(f"{folder} holds no finished run of train.py or probe.py")
    runs = Runs(tuple(studies), tuple(placements), tuple(tuned))
    names = [run.name for run in runs.all()]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ResultsError(f"two of the runs are called {twice[0]}: W&B could not tell them apart")
    return runs


def varied(runs: Sequence[StudyRun | TunedRun]) -> list[str]:
    """The settings in which `runs` differ, by their dotted names."""
    settings = [
        {
            key: str(value)
            for key, value in flat(run.settings).items()
            if key not in NOT_COMPARED and not key.startswith(NOT_COMPARED_GROUPS)
        }
        for run in runs
    ]
    keys = dict.fromkeys(key for found in settings for key in found)
    return [key for key in keys if len({found.get(key) for found in settings}) > 1]


def _read_study(folder: Path) -> StudyRun:
    table = LayerTable.read(folder / "layers.parquet")
    path = folder / "selection.yaml"
    selection = LayerSelection.read(path) if path.is_file() else None
    settings = _settings(folder)
    return StudyRun(
        name=settings["name"],
        folder=folder,
        settings=settings,
        provenance=_json(folder / "provenance.json"),
        findings=summarise(table, selection.regions if selection else None, selection),
        roles=tuple(table.unique("role")),
        pictures=tuple(sorted(path.stem for path in (folder / "figures").glob("*.png"))),
        selection=selection,
        gain=gain_grid(table),
    )


def _read_placement(folder: Path) -> PlacementRun:
    settings, path = _settings(folder), folder / "placement.json"
    found = _json(path)
    try:
        placement = found["placement"]
        if not placement["lines"] or placement["schema"] != 1:
            raise KeyError("schema")
    except (KeyError, TypeError):
        raise ResultsError(f"{path} is no record of a placement study of this version") from None
    return PlacementRun(settings["name"], folder, settings, placement)


def _read_tuned(folder: Path) -> TunedRun:
    name = "metrics.json" if (folder / "metrics.json").is_file() else "controls.json"
    settings = _settings(folder)
    return TunedRun(settings["name"], folder, settings, _json(folder / name))


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ResultsError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict) or "name" not in found:
        raise ResultsError(f"{path} is not the record of a run")
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ResultsError(f"{path} cannot be read: {error}") from None
