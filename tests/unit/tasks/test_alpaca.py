from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from taskdepth.errors import DataError
from taskdepth.tasks.alpaca import AlpacaSource
from taskdepth.tasks.spec import Kind, select_tasks
from taskdepth.types import Example, Split


def row(instruction: str, text: str = "", output: str = "yes", **other: Any) -> dict[str, Any]:
    return {"instruction": instruction, "input": text, "output": output, **other}


def write(file: Path, rows: list[Any]) -> Path:
    text = (
        "\n".join(map(json.dumps, rows)) if file.suffix == ".jsonl" else json.dumps(rows, indent=2)
    )
    file.write_text(text, encoding="utf-8")
    return file


def everything(source: AlpacaSource, task: str) -> dict[Split, list[Example]]:
    return {split: list(source.examples(task, split)) for split in Split}


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_one_file_is_one_task(tmp_path: Path, ending: str) -> None:
    rows = [row("Is it so?", f"fact {i}") for i in range(300)]
    source = AlpacaSource(write(tmp_path / f"mine.{ending}", rows))
    spec = source.specs()["mine"]
    assert (spec.cluster, spec.kind, spec.labels) == ("misc", Kind.GENERATION, ())
    splits = everything(source, "mine")
    assert {split: len(found) for split, found in splits.items()} == pytest.approx(
        {Split.TRAIN: 240, Split.VALIDATION: 30, Split.TEST: 30}, rel=0.5
    )
    ids = [e.example_id for found in splits.values() for e in found]
    assert sorted(ids) == sorted(f"mine-{i}" for i in range(300))
    assert all(e.prompt.startswith("Is it so?\nfact ") for e in splits[Split.TEST])
    assert len(list(source.plain_text(Split.TEST))) == len(splits[Split.TEST])


def test_an_underlying_example_stays_in_one_split(tmp_path: Path) -> None:
    rows = [row(f"Template {t}:", f" Fact  {i}") for i in range(100) for t in range(3)]
    rows += [row("template 0:", f"fact {i}") for i in range(100)]
    source = AlpacaSource(write(tmp_path / "mine.json", rows))
    where = defaultdict(set)
    for split, examples in everything(source, "mine").items():
        for e in examples:
            where[int(e.prompt.split()[-1])].add(split)
    assert all(len(splits) == 1 for splits in where.values())
    assert set.union(*where.values()) == set(Split)


def test_system_and_history_stand_before_the_instruction(tmp_path: Path) -> None:
    history = [["Hello?", "Hi."], ["Well?", "So so."]]
    rows = [row("Sum up:", "It rains.", "Rain.", system="Be brief.", history=history)]
    rows += [row("Go on.", output="…", system=None, history=None)]
    source = AlpacaSource(write(tmp_path / "mine_train.json", rows))
    first, second = source.examples("mine", Split.TRAIN)
    assert first.prompt == "Be brief.\n\nHello?\nHi.\n\nWell?\nSo so.\n\nSum up:\nIt rains."
    assert (first.target, second.prompt) == ("Rain.", "Go on.")


def test_names_of_files_say_the_split_and_flan_tasks_their_labels(tmp_path: Path) -> None:
    options = "\nOPTIONS:\n- yes\n- no"
    write(tmp_path / "rte_train.json", [row(f"A{options}"), row("Make one up.", output="Once …")])
    write(tmp_path / "rte_test.jsonl", [row(f"B{options}", output="no")])
    write(tmp_path / "brain_test_mine.json", [row("C")])
    source = AlpacaSource(tmp_path)
    assert list(source.specs()) == ["brain_test_mine", "rte"]
    assert (source.specs()["rte"].cluster, source.specs()["rte"].labels) == ("nli", ("no", "yes"))
    splits = everything(source, "rte")
    assert [(e.example_id, e.label, e.inverted) for e in splits[Split.TRAIN]] == [
        ("rte-train-0", "yes", False),
        ("rte-train-1", None, True),
    ]
    assert [e.example_id for e in splits[Split.TEST]] == ["rte-test-0"]
    assert splits[Split.VALIDATION] == []


def test_dataset_info_names_tasks_and_columns(tmp_path: Path) -> None:
    write(tmp_path / "a.json", [{"question": "Why?", "answer": "So.", "context": "Rain."}])
    write(tmp_path / "unlisted.json", [row("A")])
    columns = {"prompt": "question", "query": "context", "response": "answer"}
    info = {
        "weather_test": {"file_name": "a.json", "columns": columns},
        "chat": {"file_name": "a.json", "formatting": "sharegpt"},
        "better": {"file_name": "a.json", "ranking": True},
        "gone": {"file_name": "gone.json"},
        "far": {"hf_hub_url": "some/where"},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    source = AlpacaSource(tmp_path)
    (example,) = source.examples("weather", Split.TEST)
    assert (example.prompt, example.target) == ("Why?\nRain.", "So.")
    assert [spec.name for spec in select_tasks(source.specs(), "all")] == ["weather"]
    for task, message in [
        ("chat", "formatting sharegpt is not alpaca"),
        ("better", "it ranks answers"),
        ("gone", r"there is no file .*gone\.json"),
        ("far", "it has no file_name"),
        ("unlisted", "unknown task 'unlisted'"),
    ]:
        with pytest.raises(DataError, match=message):
            source.examples(task, Split.TEST)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"instruction": "a"}, "no field 'output'; found instruction"),
        (row("a", output=" "), "output must be a non-empty string"),
        (row(" "), "instruction must be a non-empty string"),
        (row("a", output=3), "output must be a string"),  # type: ignore[arg-type]
        (row("a", history=["b"]), r"history must be a list of \[question, answer\]"),
        ([1], "expected an object, found list"),
    ],
)
def test_bad_rows_are_raised_or_listed(tmp_path: Path, bad: Any, message: str) -> None:
    file = write(tmp_path / "mine_train.jsonl", [row("a"), bad, row("c")])
    with pytest.raises(DataError, match=rf"mine_train\.jsonl:2: {message}"):
        list(AlpacaSource(file).examples("mine", Split.TRAIN))
    source = AlpacaSource(file, on_error="skip")
    assert [e.example_id for e in source.examples("mine", Split.TRAIN)] == [
        "mine-train-0",
        "mine-train-2",
    ]
    assert len(source.skipped()["mine"]) == 1


def test_wrong_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        AlpacaSource(tmp_path / "nowhere.json")
    with pytest.raises(DataError, match=r"holds no \.json or \.jsonl file"):
        AlpacaSource(tmp_path).specs()
    write(tmp_path / "a.json", [row("A")])
    write(tmp_path / "a.jsonl", [row("A")])
    with pytest.raises(DataError, match=r"task a is in two files: .*a\.json and .*a\.jsonl"):
        AlpacaSource(tmp_path).specs()
    (tmp_path / "dataset_info.json").write_text("[")
    with pytest.raises(DataError, match=r"dataset_info\.json: not JSON"):
        AlpacaSource(tmp_path).specs()
    (tmp_path / "dataset_info.json").write_text("[]")
    with pytest.raises(DataError, match="one object per task"):
        AlpacaSource(tmp_path).specs()
