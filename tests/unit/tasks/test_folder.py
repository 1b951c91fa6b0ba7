from __future__ import annotations

import csv
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
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


def write_csv(folder: Path, name: str, *rows: list[str]) -> None:
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows(rows)


def test_parquet_and_csv_come_by_the_same_door(tmp_path: Path) -> None:
    rows = [
        {**ROW, "example_id": "1", "targets": ["yes", "sure"], "options": ["yes", "no"]},
        {**ROW, "example_id": "2", "label": None, "inverted": True},
        {**ROW, "example_id": "3", "label": "no", "prompt": "two\nlines, ü", "inverted": False},
    ]
    write(tmp_path, "a", *rows)
    names = ["example_id", "split", "prompt", "targets", "label", "options", "inverted"]
    full = [dict.fromkeys(names) | row for row in rows]
    pq.write_table(pa.Table.from_pylist(full), tmp_path / "b.parquet")
    write_csv(
        tmp_path,
        "c",
        names,
        ["1", "train", "p", '["yes", "sure"]', "yes", '["yes", "no"]', ""],
        ["2", "train", "p", "yes", "", "", "True"],
        ["3", "train", "two\nlines, ü", "yes", "no", "", "false"],
    )
    source = FolderSource(tmp_path)
    assert [spec.labels for spec in source.specs().values()] == [("no", "yes")] * 3
    expected = [replace(row, task="") for row in source.examples("a", Split.TRAIN)]
    assert [row.inverted for row in expected] == [False, True, False]
    for task in ("b", "c"):
        for _ in range(2):  # read again
            found = [replace(row, task="") for row in source.examples(task, Split.TRAIN)]
            assert found == expected


def test_a_plain_csv_target_may_begin_with_a_bracket(tmp_path: Path) -> None:
    write_csv(tmp_path, "a", ["example_id", "split", "prompt", "targets"], ["1", "test", "p", "[x"])
    (row,) = FolderSource(tmp_path).examples("a", Split.TEST)
    assert row.targets == ("[x",)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1", "train", "p", ""], r"a\.csv:2: targets must be a list"),
        (["1", "train", "p", "[]"], r"a\.csv:2: targets must hold at least one"),
        (["1", "train", "p", "[1]"], r"a\.csv:2: targets must be a list of strings"),
        (["1", "dev", "p", "x"], r"a\.csv:2: split 'dev'"),
        (["1", "train", "p"], r"a\.csv:2: 3 cells under 4 columns"),
    ],
)
def test_bad_csv_rows_are_named(tmp_path: Path, cells: list[str], message: str) -> None:
    write_csv(tmp_path, "a", ["example_id", "split", "prompt", "targets"], cells)
    with pytest.raises(DataError, match=message):
        list(FolderSource(tmp_path).examples("a", Split.TRAIN))


def test_a_task_has_one_file_and_one_cluster(tmp_path: Path) -> None:
    write(tmp_path, "a", ROW)
    table = "task\tcluster\tkind\tlabels\na\tnli\tgeneration\t\na\tqa\tgeneration\t\n"
    (tmp_path / "tasks.tsv").write_text(table)
    with pytest.raises(DataError, match=r"tsv:3: task a is named twice, in cluster nli and qa"):
        FolderSource(tmp_path).specs()
    (tmp_path / "tasks.tsv").write_bytes(b"task\tcluster\tkind\tlabels\na\t\xff\tgeneration\t\n")
    with pytest.raises(DataError, match=r"tasks\.tsv: not UTF-8 at byte"):
        FolderSource(tmp_path).specs()
    (tmp_path / "tasks.tsv").unlink()
    write_csv(tmp_path, "a", ["example_id"])
    with pytest.raises(DataError, match=r"task a is in two files: .*a\.csv and .*a\.jsonl"):
        FolderSource(tmp_path).specs()


def test_rows_that_cannot_be_used_are_left_out_on_request(tmp_path: Path) -> None:
    path = write(tmp_path, "a", ROW, "{", ROW, ROW | {"example_id": "a-1", "inverted": 1})
    with path.open("ab") as handle:
        handle.write(b'{"prompt": "\xff"}\n')
    write(tmp_path, "b", ROW)
    source = FolderSource(tmp_path, on_error="skip")
    for _ in range(2):
        assert [row.example_id for row in source.examples("a", Split.TRAIN)] == ["a-0"]
    reasons = [line.partition("a.jsonl")[2] for line in source.skipped()["a"]]
    assert [reason.split(" ")[0] for reason in reasons] == [":2:", ":5:", ":3:", ":4:"]
    assert "inverted must be true or false" in reasons[3]
    assert [row.example_id for row in source.examples("b", Split.TRAIN)] == ["a-0"]
    with pytest.raises(DataError, match="unknown task 'c': known: a, b"):
        source.examples("c", Split.TRAIN)


def test_a_large_file_is_not_held(tmp_path: Path) -> None:
    prompt = "word " * 2000
    with (tmp_path / "a.jsonl").open("w") as handle:
        for i in range(3000):  # 30 MB
            handle.write(json.dumps(ROW | {"example_id": str(i), "prompt": prompt}) + "\n")
    source = FolderSource(tmp_path)
    source.specs()
    tracemalloc.start()
    assert sum(1 for _ in source.examples("a", Split.TRAIN)) == 3000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000
