"""`Study`: what a run of probe.py left in its folder, as far as the report shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskdepth.errors import ResultsError
from taskdepth.results.depth_maps import DepthMaps
from taskdepth.results.findings import Findings, summarise
from taskdepth.results.table import LayerTable
from taskdepth.results.task_maps import TaskMaps
from taskdepth.selection.placement import LayerSelection
from taskdepth.selection.regions import Regions, detect_regions
from taskdepth.selection.signals import layer_signals

TABLE = "layers.parquet"
SELECTION = "selection.yaml"
DEPTH_MAPS = "depth_maps.parquet"
TASK_MAPS = "task_maps.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """One run. `name` tells it from the others on a page; `folder` is where `selection.yaml` lies.

    `undefined` holds pairs of what could not be computed and why; `regions` are None where there is
    nothing to look for them in.
    """

    name: str
    folder: Path
    table: LayerTable
    findings: Findings
    regions: Regions | None = None
    selection: LayerSelection | None = None
    provenance: Mapping[str, object] | None = None
    undefined: tuple[tuple[str, str], ...] = ()
    depth_maps: DepthMaps = field(default_factory=DepthMaps)
    task_maps: TaskMaps | None = None


def read_studies(folders: Sequence[Path]) -> tuple[Study, ...]:
    """Read the runs in `folders`, each under a name of its own.

    Raises:
        ResultsError: a folder has no layer table, or a file in it cannot be read.
    """
    names = short_names(folders)
    return tuple(read_study(path, name) for path, name in zip(folders, names, strict=True))


def read_study(folder: Path, name: str) -> Study:
    """Read one run: `layers.parquet`, and what lies beside it.

    Raises:
        ResultsError: the folder has no layer table, or a file in it cannot be read.
    """
    table = LayerTable.read(folder / TABLE)
    there = {name for name in (SELECTION, DEPTH_MAPS, TASK_MAPS) if (folder / name).is_file()}
    selection = LayerSelection.read(folder / SELECTION) if SELECTION in there else None
    regions = find_regions(table) if selection is None else selection.regions
    undefined = _read_json(folder / "undefined.json") or {}
    return Study(
        name=name,
        folder=folder,
        table=table,
        findings=summarise(table, regions, selection),
        regions=regions,
        selection=selection,
        provenance=_read_json(folder / "provenance.json"),
        undefined=tuple((what, why) for pairs in undefined.values() for what, why in pairs),
        depth_maps=DepthMaps.read(folder / DEPTH_MAPS) if DEPTH_MAPS in there else DepthMaps(),
        task_maps=TaskMaps.read(folder / TASK_MAPS) if TASK_MAPS in there else None,
    )


def find_regions(table: LayerTable) -> Regions | None:
    """The regions of a table that comes without a selection; None where it has no such signals."""
    try:
        signals = layer_signals(table)
    except ResultsError:  # no similarity with control models, or two models of one role
        return None
    return detect_regions(signals.values, identical=signals.identical, resampled=signals.resampled)


def short_names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart.

    >>> short_names([Path("runs/a/probe"), Path("runs/b/probe")])
    ['a/probe', 'b/probe']
    >>> short_names([Path("runs/a"), Path("runs/b")])
    ['a', 'b']
    """
    parts = [folder.resolve().parts for folder in folders]
    longest = max(map(len, parts))
    for n in range(1, longest + 1):
        names = ["/".join(each[-n:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    raise ResultsError("a run is named twice: each can stand on the page once")


def _read_json(path: Path) -> Any:
    """The content of a file; None where there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} cannot be read: {error}") from None
