"""What the stages of a study leave in its run folder, for the stages after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean

from taskdepth.config import ProbeConfig
from taskdepth.files import write_json
from taskdepth.pipelines.comparing import Found
from taskdepth.results.table import LayerTable, Row
from taskdepth.results.undefined import Undefined, digest
from taskdepth.run_directory import RunDirectory
from taskdepth.types import Role

TABLE = "layers.parquet"
SELECTION = "selection.yaml"
REGIONS = "regions.json"
UNDEFINED = "undefined.json"
DEPTH_MAPS = "depth_maps.parquet"
INFLUENTIAL = "influential_examples.json"
FINDINGS = "findings.json"
ROWS = "rows.json"


def put_rows(
    directory: RunDirectory, kind: str, rows: Sequence[Row], undefined: Sequence[Undefined]
) -> None:
    """Put `rows` in the place of the table's rows of this kind."""
    path = directory / TABLE
    kept = [row for row in LayerTable.read(path) if row.kind != kind] if path.exists() else []
    LayerTable([*kept, *rows]).write(path)
    _put_undefined(directory, kind, undefined)


def put_comparison(directory: RunDirectory, config: ProbeConfig, found: Found) -> None:
    """Put what was compared in the place of what an earlier comparison left."""
    for kind, rows in found.rows.items():
        put_rows(directory, kind, rows, found.undefined[kind])
    _put_undefined(directory, "depth_maps", found.undefined["depth_maps"])
    (directory / DEPTH_MAPS).unlink(missing_ok=True)
    if config.similarity.depth_maps != "none":
        found.depth_maps(of_tasks=config.similarity.depth_maps == "tasks").write(
            directory / DEPTH_MAPS
        )
    write_json(directory / INFLUENTIAL, [asdict(example) for example in found.influential])


def objective(run_dir: Path) -> float | None:
    """The mean over tasks of the best layer's label accuracy; None without label probes."""
    path = run_dir / TABLE
    if not path.exists():
        return None
    rows = LayerTable.read(path).where(kind="probe", target="label", name="accuracy")
    best: dict[str, float] = {}
    for row in rows:
        if row.role == Role.RANDOM_INIT:
            continue
        best[row.task] = max(best.get(row.task, 0.0), row.value)
    return mean(best.values()) if best else None


def _put_undefined(directory: RunDirectory, kind: str, undefined: Sequence[Undefined]) -> None:
    noted = directory.read(UNDEFINED) if (directory / UNDEFINED).exists() else {}
    write_json(directory / UNDEFINED, {**noted, kind: digest(undefined)})
