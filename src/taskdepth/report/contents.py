"""What the page draws, as one JSON object: every quantity of every run by task and layer.

`scripts/data.js` reads it. Everything here is about layers (depths >= 1).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from taskdepth.layers import depth_of
from taskdepth.report.packing import packed
from taskdepth.report.study import Study
from taskdepth.results.findings import counted, region_names
from taskdepth.results.layer_grid import LayerGrid, grid
from taskdepth.results.table import LayerTable, Row
from taskdepth.selection.regions import Regions
from taskdepth.types import Role

HIDDEN = {"l2"}  # chosen for a probe, not found out about a layer
WORDS = {
    "debiased_cka": "debiased linear CKA",
    "linear_cka": "biased linear CKA",
    "auroc": "AUROC",
    "macro_f1": "macro F1",
    "majority": "majority class",
    "control_task_accuracy": "control-task accuracy",
}
ROLES: Mapping[str, str] = {
    Role.PRETRAINED: "pre-trained model",
    Role.EXPERIMENTAL: "experimental model",
    Role.CONTROL: "control model",
    Role.RANDOM_INIT: "untrained model",
}


@dataclass(frozen=True, slots=True)
class Key:
    """The rows of one grid: they differ in task, depth and seed alone."""

    kind: str
    target: str | None
    name: str
    role: str
    model: str
    reference: str | None


def contents(studies: Sequence[Study]) -> dict[str, Any]:
    """The runs, the tasks of all of them, and one packed grid for every quantity of every model."""
    tasks: dict[tuple[str, str], int] = {}
    models: dict[tuple[int, str, str], int] = {}
    drawn = []
    for index, study in enumerate(studies):
        many = {role for role in ROLES if len(study.table.where(role=role).unique("model")) > 1}
        for key, found in _grids(study.table):
            rows = [
                tasks.setdefault(pair, len(tasks))
                for pair in zip(found.tasks, found.clusters, strict=True)
            ]
            label = _label(key, study.name if len(studies) > 1 else None, key.role in many)
            drawn.append(
                {
                    "run": index,
                    "kind": key.kind,
                    "target": key.target,
                    "name": key.name,
                    "role": key.role,
                    "model": key.model,
                    "reference": key.reference,
                    "title": quantity_title(key.kind, key.target, key.name),
                    "label": label,
                    "colour": models.setdefault((index, key.role, key.model), len(models)),
                    "tasks": rows,
                    "layers": list(found.layers),
                    "n": [int(n[n > 0].min(initial=n.max())) for n in found.n],
                    **_values(found),
                }
            )
    return {
        "runs": [_run(study) for study in studies],
        "tasks": [{"name": name, "cluster": cluster} for name, cluster in tasks],
        "grids": drawn,
        "depth_maps": [],
        "task_maps": [],
    }


def quantity_title(kind: str, target: str | None, name: str) -> str:
    """A quantity of the layer table in words.

    >>> quantity_title("similarity", None, "debiased_cka_shuffled@mean")
    'debiased linear CKA, shuffled rows (mean pooling)'
    >>> quantity_title("probe", "label", "macro_f1")
    'label probe: macro F1'
    """
    measure, _, pooling = name.partition("@")
    base = measure.removesuffix("_shuffled")
    words = WORDS.get(base, base.replace("_", " "))
    words += ", shuffled rows" if base != measure else ""
    words += f" ({pooling.replace('_', ' ')} pooling)" if pooling else ""
    return f"{target or 'transfer'} probe: {words}" if kind == "probe" else words


def _grids(table: LayerTable) -> Iterator[tuple[Key, LayerGrid]]:
    """Every quantity of every model, in one pass over the rows."""
    rows: dict[Key, list[Row]] = defaultdict(list)
    for row in table:
        if row.depth >= 1 and row.name.partition("@")[0] not in HIDDEN:
            key = Key(row.kind, row.target, row.name, row.role, row.model, row.reference)
            rows[key].append(row)
    for key, of_key in rows.items():
        yield key, grid(LayerTable(of_key))


def _label(key: Key, run: str | None, by_model: bool) -> str:
    """Whose value it is: the role, and whatever else tells it from the others on the page."""
    parts = [ROLES.get(key.role, key.role)]
    if by_model:
        parts.append(f"({key.model})")
    if key.reference not in (None, Role.CONTROL):
        parts.append(f"against {ROLES.get(key.reference, key.reference)}")
    return f"{run}: {' '.join(parts)}" if run else " ".join(parts)


def _values(found: LayerGrid) -> dict[str, Any]:
    """The values, and their interval where there is one."""
    interval: dict[str, Float[np.ndarray, "tasks layers"]] = {
        "lower": found.lower,
        "upper": found.upper,
    }
    defined = {name: ends for name, ends in interval.items() if np.isfinite(ends).any()}
    return {name: packed(array) for name, array in {"values": found.values, **defined}.items()}


def _run(study: Study) -> dict[str, Any]:
    regions, selection = study.regions, study.selection
    found = regions is not None and regions.found
    return {
        "name": study.name,
        "n_layers": study.table.n_blocks,
        "regions": [
            {"name": name, "first": first, "last": last}
            for name, first, last in region_names(regions)
        ],
        "intervals": [list(pair) for pair in regions.intervals] if regions and found else [],
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
        f"{', '.join(parts)}. Last layer of a region, with 95% interval: {', '.join(edges)}. "
        f"Straight lines with noise look as much like regions with p = {regions.p_value:.2g}."
    )
