from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from taskdepth.errors import DataError
from taskdepth.tasks.flan2021 import FLAN_TASKS
from taskdepth.tasks.flan_hub import FlanHubSource, hub_lines
from taskdepth.tasks.spec import Kind, select_tasks
from taskdepth.types import Split

SHARED = Path(os.environ.get("TASKDEPTH_SHARED", Path(__file__).parents[4] / "shared"))
GENUINE = SHARED / "data" / "flan2021"
MISSING = ("newsroom", "winogrande", "xsum")
RTE = "Is it so?\nOPTIONS:\n- yes\n- no"


def write(mirror: Path, task: str, split: str, *rows: dict[str, str] | str) -> Path:
    file = mirror / split / f"{task}_10templates_{split}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def row(inputs: str, targets: str, task: str = "rte") -> dict[str, str]:
    return {"inputs": inputs, "targets": targets, "task": task}


def test_rows_of_a_mirror(tmp_path: Path) -> None:
    write(tmp_path, "rte", "train", row(RTE, "yes"), row("Write a context.", "Once …"))
    write(tmp_path, "rte", "test", row(RTE, "no"))
    write(tmp_path, "piqa", "train", row("?\nOPTIONS:\n- 2009-01-01\n- b ", "2009-01-01", "piqa"))
    source = FlanHubSource(tmp_path)
    assert set(source.specs()) == {"piqa", "rte"}
    train = source.examples("rte", Split.TRAIN)
    assert list(train) == list(train)
    first, second = train
    assert (first.example_id, first.label, first.options) == ("rte-train-0", "yes", ("yes", "no"))
    assert (second.example_id, second.label, second.inverted) == ("rte-train-1", None, True)
    assert [e.label for e in source.examples("rte", Split.TEST)] == ["no"]
    assert list(source.examples("rte", Split.VALIDATION)) == []
    (choice,) = source.examples("piqa", Split.TRAIN)
    assert (choice.label, choice.target, choice.options) == (
        None,
        "2009-01-01",
        ("2009-01-01", "b"),
    )
    assert list(source.plain_text(Split.TEST)) == [f"{RTE}\nno"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"inputs": ', r"train\.jsonl:2: not JSON"),
        ({"inputs": "a"}, r"train\.jsonl:2: no field 'targets'; found inputs"),
        (row("a", ""), r"train\.jsonl:2: targets must be a non-empty string"),
        (row(" ", "b"), r"train\.jsonl:2: inputs must be a non-empty string"),
    ],
)
def test_bad_rows_are_raised_or_listed_and_change_no_id(
    tmp_path: Path, line: dict[str, str] | str, message: str
) -> None:
    write(tmp_path, "rte", "train", row(RTE, "yes"), line, row(RTE, "no"))
    with pytest.raises(DataError, match=message):
        list(FlanHubSource(tmp_path).examples("rte", Split.TRAIN))
    source = FlanHubSource(tmp_path, on_error="skip")
    for _ in range(2):
        ids = [e.example_id for e in source.examples("rte", Split.TRAIN)]
        assert ids == ["rte-train-0", "rte-train-2"]
    assert len(source.skipped()["rte"]) == 1


def test_tasks_that_are_not_there_are_named(tmp_path: Path) -> None:
    write(tmp_path, "rte", "test", row(RTE, "no"))
    source = FlanHubSource(tmp_path)
    for task in MISSING:
        for specs in (source.specs(), FlanHubSource().specs()):
            with pytest.raises(DataError, match=f"task {task} is not in Muennighoff/flan"):
                select_tasks(specs, [task])
    with pytest.raises(DataError, match=r"task cb is not in .*: no file train/cb_10templates"):
        source.examples("cb", Split.TRAIN)
    with pytest.raises(DataError, match="unknown task 'rtee': did you mean rte"):
        select_tasks(source.specs(), ["rtee"])
    assert [s.name for s in select_tasks(source.specs(), "all")] == ["rte"]
    assert len(FlanHubSource().specs()) == 66
    with pytest.raises(DataError, match="is not a folder"):
        FlanHubSource(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no \{train,validation,test\}/<task>"):
        FlanHubSource(tmp_path / "test").specs()


def test_without_a_network_the_way_out_is_told() -> None:
    with pytest.raises(DataError, match=r"data\.path=<folder> with \{train,") as told:
        list(FlanHubSource().examples("rte", Split.TEST))
    assert "\n" not in str(told.value)


def test_lines_streamed_by_datasets_are_those_of_the_file(tmp_path: Path) -> None:
    """Dates stay as they are written, and so do line separators of Unicode."""
    rows = [row("2009-01-01", "2009-01-01"), row("a b", "\u2028x")]
    lines = [json.dumps(r, ensure_ascii=False) for r in rows]
    file = write(tmp_path, "rte", "test", lines[0], "", lines[1])
    streamed = list(hub_lines(str(file)))
    assert [raw.fields() for raw in streamed] == rows
    assert [raw.place for raw in streamed] == [f"{file}:1", f"{file}:3"]


@pytest.mark.skipif(not GENUINE.is_dir(), reason=f"no genuine rows at {GENUINE}")
def test_genuine_rows_of_every_task() -> None:
    source = FlanHubSource(GENUINE, on_error="skip")
    assert set(source.specs()) == set(FLAN_TASKS) - set(MISSING)
    inverted: Counter[str] = Counter()
    for name, spec in source.specs().items():
        rows = [e for split in Split for e in source.examples(name, split)]
        assert len(rows) >= 5
        inverted[name] = sum(e.inverted for e in rows)
        for e in rows:
            if e.inverted:
                continue
            if spec.labels:
                assert e.label == e.target
                assert e.options is None or set(e.options) == set(spec.labels)
            elif spec.kind is Kind.MULTIPLE_CHOICE:
                assert e.options is not None
                assert e.target in e.options
        if spec.kind is not Kind.GENERATION:
            assert inverted[name] <= len(rows) / 4
    # "Write a negative review.", "Generate a context and a hypothesis.", "Write a sentence."
    assert min(inverted[t] for t in ("sst2", "imdb_reviews", "cb", "copa", "stsb", "multirc")) > 0
    # templates that only ask: nothing of them is lost
    assert not any(inverted[t] for t in ("bool_q", "wic", "wsc", "qnli", "glue_qqp", "hellaswag"))
    # drop has a row with an empty target
    assert {task: len(lines) for task, lines in source.skipped().items()} == {"drop": 1}
