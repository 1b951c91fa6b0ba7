import math
import sys
import types
from dataclasses import astuple, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taskdepth.errors import ResultsError
from taskdepth.results.table import SCHEMA, SCHEMA_VERSION, LayerTable, Row

PROBE = Row("m", "experimental", "rte", "nli", 2, "probe", "accuracy", 0.75, 40, target="label")
SIMILARITY = Row(
    "m", "pretrained", "cb", "nli", 5, "similarity", "debiased_cka", -0.01, 56,
    lower=-0.05, upper=0.03, seed=1337, reference="control",
)  # fmt: skip


def test_round_trip_keeps_every_column_none_and_nan(tmp_path: Path) -> None:
    undefined = replace(SIMILARITY, depth=0, value=math.nan, lower=math.nan, upper=None)
    LayerTable([PROBE, SIMILARITY, undefined]).write(tmp_path / "layers.parquet")
    first, second, third = LayerTable.read(tmp_path / "layers.parquet")
    assert (first, second) == (PROBE, SIMILARITY)
    assert math.isnan(third.value)
    assert third.lower is not None
    assert math.isnan(third.lower)
    assert replace(third, value=0.0, lower=0.0) == replace(undefined, value=0.0, lower=0.0)


def test_file_has_the_declared_columns_and_version(tmp_path: Path) -> None:
    path = tmp_path / "layers.parquet"
    LayerTable().write(path)
    assert len(LayerTable.read(path)) == 0
    assert pq.read_schema(path).equals(SCHEMA, check_metadata=True)
    assert SCHEMA.metadata[b"taskdepth.layers.schema"].decode() == SCHEMA_VERSION
    assert len(SCHEMA.names) == len(astuple(PROBE))


def test_folder_named_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    path = tmp_path / "lr=0.1" / "layers.parquet"
    LayerTable([PROBE]).write(path)
    assert list(LayerTable.read(path)) == [PROBE]


def write_version(path: Path, version: str) -> None:
    metadata = {"taskdepth.layers.schema": version}
    pq.write_table(LayerTable([PROBE]).to_arrow().replace_schema_metadata(metadata), path)


def write_without_metadata(path: Path) -> None:
    pq.write_table(LayerTable([PROBE]).to_arrow().replace_schema_metadata(None), path)


def write_fewer_columns(path: Path) -> None:
    pq.write_table(LayerTable([PROBE]).to_arrow().drop_columns(["seed"]), path)


def write_more_columns(path: Path) -> None:
    table = LayerTable([PROBE]).to_arrow()
    pq.write_table(table.append_column("block", [[1]]).drop_columns(["n"]), path)


def write_another_table(path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: None, "run probe.py first"),
        (lambda path: path.write_bytes(b"not parquet"), "not a readable Parquet file"),
        (lambda path: path.write_bytes(b""), "not a readable Parquet file"),
        (lambda path: write_version(path, "0"), "schema 0, of an older .* run probe.py again"),
        (lambda path: write_version(path, "10"), "schema 10, of a newer .* update taskdepth"),
        (write_without_metadata, "names no schema version"),
        (write_fewer_columns, "it lacks seed$"),
        (write_more_columns, "it lacks n and also has block$"),
        (write_another_table, "names no schema version"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, spoil, message: str) -> None:
    path = tmp_path / "layers.parquet"
    spoil(path)
    with pytest.raises(ResultsError, match=message):
        LayerTable.read(path)


def test_other_libraries_read_the_table() -> None:
    undefined = replace(SIMILARITY, depth=0, value=math.nan)
    table = LayerTable([PROBE, SIMILARITY, undefined])
    frame = table.to_pandas()
    assert list(frame.columns) == SCHEMA.names
    assert frame["value"].tolist()[:2] == [PROBE.value, SIMILARITY.value]
    assert math.isnan(frame["value"][2])
    assert frame["reference"].isna().tolist() == [True, False, False]
    assert frame.groupby("task")["n"].max().to_dict() == {"cb": 56, "rte": 40}
    # what polars, DuckDB and others take tables by
    defined = LayerTable([PROBE, SIMILARITY])  # NaN equals nothing
    assert pa.table(defined).equals(defined.to_arrow())


def test_polars_gets_the_arrow_table(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = types.ModuleType("polars")
    stand_in.DataFrame = lambda data: ("frame", data)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "polars", stand_in)
    assert LayerTable([PROBE]).to_polars() == ("frame", LayerTable([PROBE]).to_arrow())
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ResultsError, match="pip install polars"):
        LayerTable([PROBE]).to_polars()


def test_a_failed_write_leaves_the_old_table(tmp_path: Path) -> None:
    path = tmp_path / "layers.parquet"
    LayerTable([PROBE]).write(path)
    with pytest.raises(pa.ArrowInvalid):
        LayerTable([replace(PROBE, depth="three")]).write(path)  # type: ignore[arg-type]
    assert list(LayerTable.read(path)) == [PROBE]
    assert [p.name for p in tmp_path.iterdir()] == ["layers.parquet"]


def test_where_unique_and_sum() -> None:
    table = LayerTable([SIMILARITY]) + LayerTable([PROBE])
    assert list(table.where(kind="probe", depth=2)) == [PROBE]
    assert list(table.where(target=None)) == [SIMILARITY]
    assert len(table.where(kind="probe", depth=5)) == 0
    assert table.unique("task") == ["cb", "rte"]
    assert table.unique("reference") == ["control"]
    assert table.n_blocks == 5
    assert LayerTable().n_blocks == 0


def test_where_refuses_an_unknown_column() -> None:
    with pytest.raises(ResultsError, match="layer"):
        LayerTable([PROBE]).where(layer=2)
