from dataclasses import replace
from pathlib import Path

from taskdepth.pipelines.study_folder import objective, put_rows
from taskdepth.results.table import LayerTable, Row
from taskdepth.results.undefined import Undefined
from taskdepth.run_directory import RunDirectory

PROBE = Row("m", "experimental", "a", "c", 1, "probe", "accuracy", 0.5, 9, target="label")
WEIGHT = Row("m", "experimental", "a", "c", 1, "weights", "update_share", 0.1, 9)


def test_rows_take_the_place_of_those_of_their_kind(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path, "findings.json")
    reason = Undefined("experimental", "a", 0, "label probe", "no variance")
    put_rows(directory, "probe", [PROBE], [reason])
    put_rows(directory, "weights", [WEIGHT], [])
    put_rows(directory, "probe", [replace(PROBE, value=0.7), replace(PROBE, depth=2)], [])
    found = LayerTable.read(tmp_path / "layers.parquet")
    assert sorted((row.kind, row.depth, row.value) for row in found) == [
        ("probe", 1, 0.7),
        ("probe", 2, 0.5),
        ("weights", 1, 0.1),
    ]
    assert directory.read("undefined.json") == {"probe": [], "weights": []}


def test_the_objective_is_the_mean_over_tasks_of_the_best_layer(tmp_path: Path) -> None:
    assert objective(tmp_path) is None
    path = tmp_path / "layers.parquet"
    LayerTable([WEIGHT]).write(path)
    assert objective(tmp_path) is None
    rows = [
        PROBE,
        replace(PROBE, depth=2, value=0.75),
        replace(PROBE, task="b", value=0.25),
        replace(PROBE, task="b", role="random_init", value=1.0),
        replace(PROBE, name="majority", value=1.0),
        replace(PROBE, task="all", target="task", value=1.0),
    ]
    LayerTable(rows).write(path)
    assert objective(tmp_path) == 0.5
