"""`extraction.keep=none`: states go through memory task by task, and what was measured is what stays.

A task's states are extracted, probed, compared and forgotten; only then comes the next task. What is
told across tasks (which task, which cluster) is read from a sample of every task's rows, extracted at
the end. Each finished task is kept in the run folder, so that an interrupted run goes on after it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from taskdepth.activations.memory import MemoryStore
from taskdepth.config import ProbeConfig
from taskdepth.files import write_json
from taskdepth.pipelines.bases import Bases
from taskdepth.pipelines.comparing import Found, Influential, compare_all
from taskdepth.pipelines.planning import ACROSS_TASKS
from taskdepth.pipelines.probing import probe_rows
from taskdepth.pipelines.roster import Roster
from taskdepth.pipelines.study import ExamplesOf, Study
from taskdepth.results.depth_maps import DepthMaps
from taskdepth.results.table import LayerTable, Row
from taskdepth.results.undefined import Undefined
from taskdepth.seeds import stable_seed
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import Example, Split

FOLDER = "streamed"


@dataclass(slots=True)
class Passed:
    """What was measured while the states were there."""

    probes: list[Row] = field(default_factory=list)
    undefined: list[Undefined] = field(default_factory=list)
    found: Found = field(default_factory=Found)

    def add(self, other: Passed) -> None:
        self.probes += other.probes
        self.undefined += other.undefined
        for kind, rows in other.found.rows.items():
            self.found.rows[kind] += rows
        for kind, undefined in other.found.undefined.items():
            self.found.undefined[kind] += undefined
        self.found.maps += other.found.maps
        self.found.influential += other.found.influential


def through_memory(
    config: ProbeConfig,
    specs: Sequence[TaskSpec],
    study: Study,
    examples: ExamplesOf,
    bases: Bases,
    store: MemoryStore,
    run_dir: Path,
) -> Passed:
    """Probe and compare every task, with the states of one task in memory at a time.

    `store` is that of `study`.
    """
    folder = run_dir / FOLDER
    passed = Passed()
    for spec in specs:
        if not _record(folder, spec).is_file():
            study.extract([spec.name])
            _write(_within_task(config, spec, study, examples), folder, spec)
            store.forget()
        passed.add(_read(folder, spec))
    passed.undefined = _unanimous(passed.undefined, len(specs))
    across = [target for target in config.probe.targets if target in ACROSS_TASKS]
    if across and "probe" in config.stages:
        sample = _sample(config, examples)
        models = Roster(study.models.compared, {}, study.models.beside)
        sampled = Study(config, specs, models, sample, bases, store)
        sampled.extract()
        rows, undefined = probe_rows(_asking(config, across), specs, sampled, sample)
        store.forget()
        passed.add(Passed(rows, undefined))
    bases.release()
    return passed


def _within_task(config: ProbeConfig, spec: TaskSpec, study: Study, examples: ExamplesOf) -> Passed:
    passed = Passed()
    within = [target for target in config.probe.targets if target not in ACROSS_TASKS]
    if within and "probe" in config.stages:
        asking = _asking(config, within)
        passed.probes, passed.undefined = probe_rows(asking, [spec], study, examples)
    if "compare" in config.stages:
        passed.found = compare_all(config, [spec], study)
    return passed


def _asking(config: ProbeConfig, targets: list[str]) -> ProbeConfig:
    return replace(config, probe=replace(config.probe, targets=targets))


def _sample(config: ProbeConfig, examples: ExamplesOf) -> ExamplesOf:
    """Up to `sample_rows` rows of each task and split, the same ones in every run."""

    @cache
    def sample(spec: TaskSpec, split: Split) -> Sequence[Example]:
        rows = examples(spec, split)
        order = torch.Generator().manual_seed(stable_seed(config.seed, spec.name, split, "sample"))
        chosen = torch.randperm(len(rows), generator=order)[: config.extraction.sample_rows]
        return [rows[i] for i in chosen.sort().values.tolist()]

    return sample


def _unanimous(undefined: Sequence[Undefined], n_tasks: int) -> list[Undefined]:
    """What is said of all tasks must be so for each: no single task speaks for the others."""
    counts = Counter(item for item in undefined if item.task == "all")
    return [
        *(item for item in undefined if item.task != "all"),
        *(item for item, count in counts.items() if count == n_tasks),
    ]


def _record(folder: Path, spec: TaskSpec) -> Path:
    return folder / f"{spec.name}.json"


def _write(passed: Passed, folder: Path, spec: TaskSpec) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [*passed.probes, *(row for rows in passed.found.rows.values() for row in rows)]
    LayerTable(rows).write(folder / f"{spec.name}.parquet")
    DepthMaps(passed.found.maps).write(folder / f"{spec.name}.maps.parquet")
    content = {
        "probe": [asdict(item) for item in passed.undefined],
        "found": {
            kind: [asdict(item) for item in items] for kind, items in passed.found.undefined.items()
        },
        "influential": [asdict(item) for item in passed.found.influential],
    }
    write_json(_record(folder, spec), content)  # last: it marks the task as done


def _read(folder: Path, spec: TaskSpec) -> Passed:
    content: dict[str, Any] = json.loads(_record(folder, spec).read_text(encoding="utf-8"))
    by_kind: dict[str, list[Row]] = {kind: [] for kind in ("probe", "similarity", "geometry")}
    for row in LayerTable.read(folder / f"{spec.name}.parquet"):
        by_kind[row.kind].append(row)
    found = Found(
        rows={kind: by_kind[kind] for kind in ("similarity", "geometry")},
        undefined={
            kind: [Undefined(**item) for item in items] for kind, items in content["found"].items()
        },
        maps=list(DepthMaps.read(folder / f"{spec.name}.maps.parquet")),
        influential=[Influential(**item) for item in content["influential"]],
    )
    return Passed(by_kind["probe"], [Undefined(**item) for item in content["probe"]], found)
