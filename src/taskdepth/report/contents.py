"""What the page draws, as one JSON object: every quantity of every run by task and layer, and maps.

`page/scripts/data.js` reads it. Grids are about layers (depths >= 1), maps about all depths.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from taskdepth.layers import depth_of
from taskdepth.report.labels import model_label, quantity_title
from taskdepth.report.map_contents import depth_map_contents, task_map_contents
from taskdepth.report.packing import packed
from taskdepth.report.study import Study
from taskdepth.results.layer_grid import LayerGrid, grid
from taskdepth.results.regions import number_of_regions, region_names
from taskdepth.results.table import LayerTable, Row
from taskdepth.results.wording import counted
from taskdepth.selection.regions import Regions
from taskdepth.types import Role

HIDDEN = {"l2"}  # chosen for a probe, not found out about a layer
ONE_MODEL = (Role.PRETRAINED, Role.EXPERIMENTAL, Role.RANDOM_INIT)  # others play a role in one task


@dataclass(frozen=True, slots=True)
class Key:
    """The rows of one grid: they differ in task, depth and seed alone.

    `model` is None for roles that another model plays in every task.
    """

    kind: str
    target: str | None
    name: str
    role: str
    model: str | None
    reference: str | None


def contents(studies: Sequence[Study]) -> dict[str, Any]:
    """The runs, the tasks of all of them, one packed grid for every quantity of every model, maps."""
    tasks: dict[tuple[str, str], int] = {}
    models: dict[tuple[int, str, str | None], int] = {}
    grids, depth_maps, task_maps = [], [], []
    for index, study in enumerate(studies):
        run = study.name if len(studies) > 1 else None
        drawn = list(_grids(study.table))
        of_role = {role: {key.model for key, _ in drawn if key.role == role} for role in ONE_MODEL}
        for key, found in drawn:
            shares_role = key.model is not None and len(of_role[Role(key.role)]) > 1
            grids.append(
                {
                    "run": index,
                    "kind": key.kind,
                    "target": key.target,
                    "name": key.name,
                    "role": key.role,
                    "model": key.model,
                    "reference": key.reference,
                    "title": quantity_title(key.kind, key.target, key.name),
                    "label": model_label(
                        key.role, run, key.model if shares_role else None, key.reference
                    ),
                    "colour": models.setdefault((index, key.role, key.model), len(models)),
                    "tasks": _numbered(tasks, found.tasks, found.clusters),
                    "layers": list(found.layers),
                    "n": [int(n[n > 0].min(initial=n.max())) for n in found.n],
                    **_values(found),
                }
            )
        depth_maps += depth_map_contents(study.depth_maps, run)
        if study.task_maps is not None:
            numbers = _numbered(tasks, study.task_maps.tasks, study.task_maps.clusters)
            task_maps += task_map_contents(study.task_maps, numbers, run)
    return {
        "runs": [_run(study) for study in studies],
        "tasks": [{"name": name, "cluster": cluster} for name, cluster in tasks],
        "grids": grids,
        "depth_maps": depth_maps,
        "task_maps": task_maps,
    }


def _grids(table: LayerTable) -> Iterator[tuple[Key, LayerGrid]]:
    """Every quantity of every model, in one pass over the rows."""
    rows: dict[Key, list[Row]] = defaultdict(list)
    for row in table:
        if row.depth >= 1 and row.name.partition("@")[0] not in HIDDEN:
            model = row.model if row.role in ONE_MODEL else None
            rows[Key(row.kind, row.target, row.name, row.role, model, row.reference)].append(row)
    for key, of_key in rows.items():
        yield key, grid(LayerTable(of_key))


def _numbered(
    known: dict[tuple[str, str], int], tasks: Sequence[str], clusters: Sequence[str]
) -> list[int]:
    """The numbers of tasks on the page; new ones are added to `known`."""
    return [known.setdefault(pair, len(known)) for pair in zip(tasks, clusters, strict=True)]


def _values(found: LayerGrid) -> dict[str, Any]:
    """The values, and their interval where there is one."""
    interval = {"lower": found.lower, "upper": found.upper}
    defined = {name: ends for name, ends in interval.items() if np.isfinite(ends).any()}
    return {name: packed(array) for name, array in {"values": found.values, **defined}.items()}


def _run(study: Study) -> dict[str, Any]:
    regions, selection = study.regions, study.selection
    return {
        "name": study.name,
        "regions": [
            {"name": name, "first": first, "last": last}
            for name, first, last in region_names(regions)
        ],
        "intervals": [list(pair) for pair in regions.intervals] if regions else [],
        "adapted": [depth_of(block) for block in selection.blocks] if selection else [],
        "said": _said(regions),
    }


def _said(regions: Regions | None) -> str:
    """Whether there are regions, in words."""
    if regions is None:
        return "Regions were not looked for."
    if not regions.found:
        return f"No regions were found: {regions.reason}."
    parts = [
        f"{name}: {counted(last - first + 1, 'layer')} ({first} to {last})"
        for name, first, last in region_names(regions)
    ]
    edges = [
        f"{boundary} ({low} to {high})"
        for boundary, (low, high) in zip(regions.boundaries, regions.intervals, strict=True)
    ]
    return (
        f"{', '.join(parts)}.{number_of_regions(regions)} "
        f"Last layer of a region, with 95% interval: {', '.join(edges)}. "
        f"Against straight lines with noise: p = {regions.p_value:.2g}."
    )
