from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from taskdepth.errors import DataError
from taskdepth.tasks.folder import FolderSource
from taskdepth.tasks.spec import Kind, select_tasks
from taskdepth.types import Split

ROW = {"example_id": "a-0", "split": "train", "prompt": "p", "targets": ["yes"], "label": "yes"}


def write(folder: Path, name: str, *rows: Any) -> Path:
    path = folder / f"{name}.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_without_a_table_everything_is_inferred(tmp_path: Path) -> None:
    other = ROW | {"example_id": "a-1", "split": "test", "label": "no", "targets": ["nö"]}
    write(tmp_path, "a", ROW, "", other)
    write(tmp_path, "b", {k: v for k, v in ROW.items() if k != "label"})
    source = FolderSource(tmp_path)
    a, b = source.specs()["a"], source.specs()["b"]
    assert (a.cluster, a.kind, a.labels) == ("misc", Kind.CLASSIFICATION, ("no", "yes"))
    assert (b.kind, b.labels) == (Kind.GENERATION, ())
    assert [e.target for e in source.examples("a", Split.TEST)] == ["nö"]
    assert list(source.examples("a", Split.VALIDATION)) == []
    assert list(source.plain_text(Split.TRAIN)) == ["p\nyes", "p\nyes"]


def test_the_table_wins(tmp_path: Path) -> None:
    write(tmp_path, "a", ROW)
    (tmp_path / "tasks.tsv").write_text(
        "task\tcluster\tkind\tlabels\na\tnli\tclassification\tyes|maybe|no\n", encoding="utf-8"
    )
    spec = FolderSource(tmp_path).specs()["a"]
    assert (spec.cluster, spec.labels) == ("nli", ("maybe", "no", "yes"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"a\.jsonl:2: not JSON"),
        ("[1]", "expected an object, found list"),
        ({"split": "train"}, "no field 'example_id'; found split"),
        (ROW | {"split": "dev"}, "split 'dev' is not train"),
        (ROW | {"prompt": " "}, "prompt must be a non-empty string"),
        (ROW | {"example_id": 3}, "example_id must be"),
        (ROW | {"example_id": "a-1", "targets": []}, "targets must hold"),
        (ROW | {"example_id": "a-1", "targets": [""]}, "targets must hold"),
        (ROW | {"example_id": "a-1", "targets": "yes"}, "targets must be a list of strings"),
        (ROW | {"example_id": "a-1", "label": 1}, "label must be a string or null"),
        (ROW | {"example_id": "a-1", "options": [1]}, "options must be a list of strings"),
        (ROW, "'a-0' occurs twice"),
    ],
)
def test_bad_lines_are_named_with_file_and_line(tmp_path: Path, line: Any, message: str) -> None:
    write(tmp_path, "a", ROW, line)
    with pytest.raises(DataError, match=message) as caught:
        list(FolderSource(tmp_path).examples("a", Split.TRAIN))
    assert "a.jsonl:2" in str(caught.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("task\tcluster\na\tx\n", "tasks.tsv:1: no column kind, labels"),
        ("task\tcluster\tkind\tlabels\na\tx\tquiz\t\n", "tasks.tsv:2: kind 'quiz'"),
        ("task\tcluster\tkind\tlabels\nzz\tx\tgeneration\t\n", "tasks without a file: zz"),
        ("task\tcluster\tkind\tlabels\na\tx\tclassification\tno\n", "label 'yes' is not one of no"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, table: str, message: str) -> None:
    write(tmp_path, "a", ROW)
    (tmp_path / "tasks.tsv").write_text(table, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list(FolderSource(tmp_path).examples("a", Split.TRAIN))


def test_folders_without_tasks_and_wrong_bytes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        FolderSource(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no \.jsonl, \.parquet or \.csv file"):
        FolderSource(tmp_path).specs()
    (tmp_path / "a.jsonl").write_bytes(b'{"prompt": "\xff"}\n')
    with pytest.raises(DataError, match="not UTF-8"):
        FolderSource(tmp_path).specs()


def test_selection_of_tasks(tmp_path: Path) -> None:
    for name in ("rte", "cb", "sst2"):
        write(tmp_path, name, ROW | {"example_id": name})
    specs = FolderSource(tmp_path).specs()
    assert [s.name for s in select_tasks(specs, "all")] == ["cb", "rte", "sst2"]
    assert [s.name for s in select_tasks(specs, ["sst2", "cb", "cb"])] == ["cb", "sst2"]
    assert len(select_tasks(specs, "cluster:misc")) == 3
    for wanted, message in [
        ("rtee", "unknown task 'rtee': did you mean rte"),
        ("cluster:nlu", "unknown cluster 'nlu': known: misc"),
        ([], "no task is chosen"),
    ]:
        with pytest.raises(DataError, match=message):
            select_tasks(specs, wanted)
