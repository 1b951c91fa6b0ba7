"""`DepthMaps`: similarity of all depths of one model with all depths of another, and its file.

`depth_maps.parquet` lies beside `layers.parquet`:

    maps = DepthMaps.read(run_dir / "depth_maps.parquet")
    maps.one(role="experimental", reference="control").values  # mean over tasks, debiased CKA
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from taskdepth.errors import ResultsError, first_line
from taskdepth.files import replacing
from taskdepth.results.table import UNREADABLE

SCHEMA_VERSION = "1"

SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("task", pa.string()),
        ("cluster", pa.string()),
        ("role", pa.string()),
        ("model", pa.string()),
        ("reference", pa.string()),
        ("reference_model", pa.string()),
        ("n", pa.int64()),
        ("n_tasks", pa.int64()),
        ("values", pa.list_(pa.list_(pa.float64()))),
    ],
    metadata={"taskdepth.depth_maps.schema": SCHEMA_VERSION},
)


@dataclass(frozen=True, slots=True, eq=False)
class DepthMap:
    """`values[i, j]`: similarity of depth i of `model` with depth j of `reference_model`; NaN is undefined.

    Depth 0 is the embeddings. `role` and `reference` are the roles of the two models, the same for a
    model with itself. `name` is the measure, with the pooling as in `layers.parquet`. Task and cluster
    are `all` for the mean over the `n_tasks` tasks; `n` is then the fewest examples of any.
    """

    name: str
    task: str
    cluster: str
    role: str
    model: str
    reference: str
    reference_model: str
    n: int
    n_tasks: int
    values: Float[np.ndarray, "n_depths n_depths_reference"]


class DepthMaps:
    """An immutable list of `DepthMap`s."""

    def __init__(self, maps: Iterable[DepthMap] = ()) -> None:
        self._maps = tuple(maps)

    def __len__(self) -> int:
        return len(self._maps)

    def __iter__(self) -> Iterator[DepthMap]:
        return iter(self._maps)

    def where(self, **equals: object) -> DepthMaps:
        """The maps whose fields equal the given values.

        Raises:
            ResultsError: there is no such field.
        """
        known = {field.name for field in fields(DepthMap)} - {"values"}
        if unknown := set(equals) - known:
            raise ResultsError(f"no column {sorted(unknown)} in the depth maps")
        return DepthMaps(m for m in self if all(getattr(m, k) == v for k, v in equals.items()))

    def one(
        self, role: str, reference: str, *, name: str = "debiased_cka", task: str = "all"
    ) -> DepthMap:
        """The one map of two roles, a measure and a task.

        Raises:
            ResultsError: there is none, or more than one.
        """
        found = list(self.where(role=role, reference=reference, name=name, task=task))
        if len(found) != 1:
            raise ResultsError(
                f"{len(found)} depth maps of {name} between {role} and {reference}, task {task}"
            )
        return found[0]

    def write(self, path: Path) -> None:
        """Write `depth_maps.parquet` in one step: the file is whole or absent."""
        names = [field.name for field in fields(DepthMap)]
        rows = [{name: getattr(m, name) for name in names} for m in self]
        rows = [{**row, "values": row["values"].tolist()} for row in rows]
        with replacing(path) as partial:
            pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), partial)

    @classmethod
    def read(cls, path: Path) -> DepthMaps:
        """Read what `write` wrote.

        Raises:
            ResultsError: no such file, not Parquet, or another version of the columns.
        """
        try:
            with pq.ParquetFile(path) as file:
                _check_schema(file.schema_arrow, path)
                maps = [_map_of(row, path) for row in file.read().to_pylist()]
        except FileNotFoundError:
            raise ResultsError(
                f"no depth maps at {path}: run probe.py with similarity.depth_maps=mean"
            ) from None
        except UNREADABLE as error:
            raise ResultsError(
                f"{path} is not a readable Parquet file: {first_line(error)}"
            ) from None
        return cls(maps)


def _check_schema(schema: pa.Schema, path: Path) -> None:
    stored = (schema.metadata or {}).get(b"taskdepth.depth_maps.schema", b"none")
    if (version := stored.decode(errors="replace")) != SCHEMA_VERSION:
        raise ResultsError(
            f"{path} has depth-map schema {version}; this version reads {SCHEMA_VERSION}"
        )
    if not schema.equals(SCHEMA):
        raise ResultsError(f"{path} is damaged: its columns are not those of depth maps")


def _map_of(row: dict[str, Any], path: Path) -> DepthMap:
    values = row["values"]
    widths = {len(line) if line is not None else -1 for line in values or [None]}
    if None in row.values() or len(widths) != 1 or widths == {-1}:
        raise ResultsError(f"{path} is damaged: a map lacks values")
    if any(value is None for line in values for value in line):
        raise ResultsError(f"{path} is damaged: a map lacks values")
    return DepthMap(**{**row, "values": np.array(values, dtype=np.float64)})


def mean_over_tasks(maps: Iterable[DepthMap]) -> DepthMaps:
    """One map for each measure and two roles: the mean over the tasks that are defined at each place.

    A role that a different model plays in every task, as control models do, gives its name to it.
    """
    groups: dict[tuple[str, str, str], list[DepthMap]] = defaultdict(list)
    for single in maps:
        groups[single.name, single.role, single.reference].append(single)
    return DepthMaps(
        DepthMap(
            name=name,
            task="all",
            cluster="all",
            role=role,
            model=_common([single.model for single in group], role),
            reference=reference,
            reference_model=_common([single.reference_model for single in group], reference),
            n=min(single.n for single in group),
            n_tasks=len(group),
            values=_defined_mean(np.stack([single.values for single in group])),
        )
        for (name, role, reference), group in groups.items()
    )


def _common(models: Sequence[str], role: str) -> str:
    return models[0] if len(set(models)) == 1 else role


def _defined_mean(
    values: Float[np.ndarray, "tasks rows columns"],
) -> Float[np.ndarray, "rows columns"]:
    # numpy's nanmean warns where all is NaN
    defined = np.isfinite(values)
    total = np.where(defined, values, 0.0).sum(axis=0)
    count = defined.sum(axis=0)
    mean: Float[np.ndarray, "rows columns"] = np.full_like(total, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean
