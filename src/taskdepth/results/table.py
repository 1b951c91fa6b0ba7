"""`LayerTable`: every measured value as one tidy row, and the file `layers.parquet`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from taskdepth.errors import ResultsError, first_line
from taskdepth.files import replacing

if TYPE_CHECKING:
    import pandas
    import polars

SCHEMA_VERSION = "1"
# what pyarrow raises at a damaged file; ValueError: a text that is not UTF-8
UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError)

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("role", pa.string()),
        ("task", pa.string()),
        ("cluster", pa.string()),
        ("depth", pa.int32()),
        ("kind", pa.string()),
        ("target", pa.string()),
        ("name", pa.string()),
        ("value", pa.float64()),
        ("lower", pa.float64()),
        ("upper", pa.float64()),
        ("n", pa.int64()),
        ("seed", pa.int64()),
        ("reference", pa.string()),
    ],
    metadata={"taskdepth.layers.schema": SCHEMA_VERSION},
)


@dataclass(frozen=True, slots=True)
class Row:
    """One value at one depth.

    `kind` is `probe`, `similarity`, `geometry` or `weights` (of adapters). A probe has a `target`
    (`task`, `cluster`, `label`, `option`, `first_token`), a similarity a `reference`: the role of the
    other model.
    `name` is the score or measure (`accuracy`, `debiased_cka`, …) of the last prompt token; other
    poolings carry theirs as a suffix, `accuracy@mean`. What stands beside a measure has its name and
    an ending: `_shuffled`, `_influence`, `_standardised`. `lower` and `upper` bound the 95 % interval.
    NaN means undefined, never zero.
    Rows about no single task have task and cluster `all`.
    """

    model: str
    role: str
    task: str
    cluster: str
    depth: int
    kind: str
    name: str
    value: float
    n: int
    target: str | None = None
    lower: float | None = None
    upper: float | None = None
    seed: int | None = None
    reference: str | None = None


def pooled_name(name: str, pooling: str) -> str:
    """How a score or measure is called for a pooling; the last prompt token needs no mention.

    >>> pooled_name("accuracy", "last_token"), pooled_name("accuracy", "mean")
    ('accuracy', 'accuracy@mean')
    """
    return name if pooling == "last_token" else f"{name}@{pooling}"


class LayerTable:
    """An immutable list of `Row`s with the few questions that figures and findings ask of it."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._rows = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __add__(self, other: LayerTable) -> LayerTable:
        return LayerTable((*self._rows, *other._rows))

    def where(self, **equals: object) -> LayerTable:
        """The rows whose columns equal the given values: `table.where(name="accuracy", depth=3)`.

        Raises:
            ResultsError: there is no such column.
        """
        known = {field.name for field in fields(Row)}
        if unknown := set(equals) - known:
            raise ResultsError(f"no column {sorted(unknown)} in the layer table")
        rows: Iterable[Row] = self._rows
        for name, wanted in equals.items():  # a column at a time: three times as fast as row by row
            of = attrgetter(name)
            rows = [row for row in rows if of(row) == wanted]
        return LayerTable(rows)

    def unique(self, column: str) -> list[str]:
        """The values of `column` in order of first appearance, without None."""
        return list(dict.fromkeys(v for r in self._rows if (v := getattr(r, column)) is not None))

    @property
    def n_blocks(self) -> int:
        """L: the deepest depth of any row."""
        return max((row.depth for row in self._rows), default=0)

    def to_arrow(self) -> pa.Table:
        """One row for each value, with the columns and the schema version of `layers.parquet`."""
        columns = {name: [getattr(row, name) for row in self._rows] for name in SCHEMA.names}
        return pa.table(columns, schema=SCHEMA)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Arrow's interface between libraries: `polars.DataFrame(table)` and the like read it."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def to_pandas(self) -> pandas.DataFrame:
        """One row a value; what a row lacks is None, an undefined value NaN."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> polars.DataFrame:
        """One row a value; what a row lacks is null, an undefined value NaN.

        Raises:
            ResultsError: polars is not installed.
        """
        try:
            import polars
        except ImportError:
            raise ResultsError("polars is not installed: pip install polars") from None
        return polars.DataFrame(self.to_arrow())

    def write(self, path: Path) -> None:
        """Write `layers.parquet` in one step: the file is whole or absent."""
        with replacing(path) as partial:
            pq.write_table(self.to_arrow(), partial)

    @classmethod
    def read(cls, path: Path) -> LayerTable:
        """Read what `write` wrote.

        Raises:
            ResultsError: no such file, not Parquet, or another version of the columns.
        """
        try:
            with pq.ParquetFile(path) as file:
                _check_schema(file.schema_arrow, path)
                rows = [Row(**row) for row in file.read().to_pylist()]
        except FileNotFoundError:
            raise ResultsError(f"no layer table at {path}: run probe.py first") from None
        except UNREADABLE as error:
            raise ResultsError(
                f"{path} is not a readable Parquet file: {first_line(error)}"
            ) from None
        _check_rows(rows, path)
        return cls(rows)


def _check_rows(rows: list[Row], path: Path) -> None:
    """Refuse what no writer of ours writes."""
    needed = attrgetter("model", "role", "task", "cluster", "depth", "kind", "name", "value", "n")
    for i, row in enumerate(rows):
        if None in needed(row) or row.depth < 0 or row.n < 0:
            raise ResultsError(f"{path} is damaged: row {i} lacks a value, or counts below 0")


def _check_schema(schema: pa.Schema, path: Path) -> None:
    """Refuse another version of the columns, and say what to do."""
    version = (schema.metadata or {}).get(b"taskdepth.layers.schema", b"").decode(errors="replace")
    if not version:
        raise ResultsError(f"{path} is no layer table of taskdepth: it names no schema version")
    if version != SCHEMA_VERSION:
        age = "a newer" if version.isdigit() and int(version) > int(SCHEMA_VERSION) else "an older"
        todo = "update taskdepth" if age == "a newer" else "run probe.py again"
        raise ResultsError(
            f"{path} has layer-table schema {version}, of {age} taskdepth; this one reads "
            f"{SCHEMA_VERSION}: {todo}"
        )
    missing = [name for name in SCHEMA.names if name not in schema.names]
    unknown = [name for name in schema.names if name not in SCHEMA.names]
    if missing or unknown:
        differs = [f"lacks {', '.join(missing)}"] * bool(missing)
        differs += [f"also has {', '.join(unknown)}"] * bool(unknown)
        raise ResultsError(
            f"{path} is no layer table of schema {SCHEMA_VERSION}: it {' and '.join(differs)}"
        )
    wrong = [
        name
        for name in SCHEMA.names
        if schema.names.count(name) > 1 or schema.field(name).type != SCHEMA.field(name).type
    ]
    if wrong:
        raise ResultsError(
            f"{path} is no layer table of schema {SCHEMA_VERSION}: {', '.join(wrong)} of another type"
        )
