"""`python -m taskdepth.tasks`: what it counts, warns of and prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from taskdepth.errors import DataError
from taskdepth.tasks import __main__ as command
from taskdepth.tasks.folder import FolderSource
from taskdepth.tasks.sources import SOURCES, build
from taskdepth.tasks.spec import Kind, Specs, TaskSpec, select_tasks
from taskdepth.tasks.summary import summarise
from taskdepth.types import Split


def write(folder: Path, task: str, *rows: tuple[str, str | None, int]) -> None:
    """Rows as (split, label, how many); label "#" stands for an inverted row."""
    lines = [
        {
            "example_id": f"{split}-{label}-{i}",
            "split": split,
            "prompt": f"three words {task}-{label}-{i}",
            "targets": ["x"],
            "label": None if label == "#" else label,
            "inverted": label == "#",
        }
        for split, label, n in rows
        for i in range(n)
    ]
    (folder / f"{task}.jsonl").write_text("\n".join(map(json.dumps, lines)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(
        tmp_path,
        "sound",
        ("train", "no", 2),
        ("train", "yes", 1),
        ("train", "#", 3),
        ("validation", "no", 1),
        ("test", "no", 60),
        ("test", "yes", 40),
    )
    write(tmp_path, "small", ("train", "no", 2), ("train", "yes", 1), ("test", "no", 3))
    write(tmp_path, "constant", ("train", "no", 2), ("validation", "yes", 1), ("test", "yes", 100))
    write(tmp_path, "free", ("train", None, 2), ("validation", None, 1))
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["taskdepth.tasks", *arguments])
    command.main()


def listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> Any:
    run(monkeypatch, *arguments, "--json")
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("task", "warnings"),
    [
        ("sound", ()),
        (
            "small",
            (
                "no validation rows",
                "fewer than 100 usable test rows",
                "a label is missing from the test rows",
            ),
        ),
        (
            "constant",
            ("one label only in the training rows", "a label is missing from the test rows"),
        ),
        ("free", ("no test rows",)),
    ],
)
def test_warnings(folder: Path, task: str, warnings: tuple[str, ...]) -> None:
    source = FolderSource(folder)
    assert summarise(source, source.specs()[task]).warnings == warnings


def test_counts_leave_out_inverted_rows(folder: Path) -> None:
    source = FolderSource(folder)
    summary = summarise(source, source.specs()["sound"], lambda prompt: 7)
    train = summary.splits[Split.TRAIN]
    assert (train.n_rows, train.n_inverted, dict(train.labels)) == (3, 3, {"no": 2, "yes": 1})
    assert summary.n_inverted == 3
    assert (train.prompt_length, summary.mean_prompt_length) == (21, 7)


def test_the_table_of_a_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    (folder / "broken.jsonl").write_text("{")
    run(monkeypatch, str(folder))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100
    rows = {line.split()[0]: line.split() for line in shown.splitlines() if line.strip()}
    assert rows["sound"] == ["sound", "2", "classes", "3/1/100", "3", "3", "no", "|", "yes"]
    assert rows["free"] == ["free", "free", "text", "2/1/0", "3"]
    assert "5 tasks in 1 cluster" in shown
    assert "no validation rows: broken, small" in shown
    assert "1 row cannot be used" in shown
    assert "Leakage" not in shown
    with pytest.raises(SystemExit):
        run(monkeypatch, str(folder), "--on-error", "raise")
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "broken.jsonl:1: not JSON" in error


def test_leakage_is_shown_on_request(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--source", "folder", "--path", str(folder), "--leakage")
    assert "Leakage: 6 pairs of splits, 0 pairs of tasks" in capsys.readouterr().out
    content = listed(monkeypatch, capsys, str(folder), "--tasks", "free", "--leakage")
    assert [task["task"] for task in content["tasks"]] == ["free"]
    assert content["leakage"]["overlaps"][0]["prompts"] == 1
    run(monkeypatch, "--tasks", "demo_arithmetic", "--leakage")
    assert "no prompt occurs at two places" in capsys.readouterr().out


def test_json_holds_everything(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.jsonl").write_text("{")
    content = listed(monkeypatch, capsys, str(folder), "--tasks", "small,broken")
    assert content["unit"] == "words"
    broken, small = content["tasks"]
    assert broken["splits"]["train"] == {"rows": 0, "inverted": 0, "labels": {}}
    assert small["labels"] == ["no", "yes"]
    assert small["mean_prompt_length"] == 3
    assert [len(lines) for lines in content["skipped"].values()] == [1]
    assert "leakage" not in content


def test_tokens_are_counted_with_a_tokenizer(
    folder: Path,
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = (str(folder), "--tasks", "free", "--tokenizer")
    content = listed(monkeypatch, capsys, *arguments, str(tiny_folder))
    assert content["unit"] == "tokens"
    assert content["tasks"][0]["mean_prompt_length"] > 3
    with pytest.raises(SystemExit):
        run(monkeypatch, *arguments, str(folder))
    assert f"error: --tokenizer {folder}: " in capsys.readouterr().err


def test_the_registry_alone_has_no_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = listed(monkeypatch, capsys, "--source", "flan2021")
    assert len(content["tasks"]) == 69
    assert all(task["splits"] == {} and task["warnings"] == [] for task in content["tasks"])
    run(monkeypatch, "--source", "flan2021", "--tasks", "cluster:nli")
    shown = capsys.readouterr().out
    assert "in 1 cluster" in shown
    assert "rows" not in shown


def test_flan2021_with_a_path_reads_the_rows_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "test" / "cb_10templates_test.jsonl"
    file.parent.mkdir()
    file.write_text(json.dumps({"inputs": "So?", "targets": "Yes", "task": "cb"}))
    content = listed(monkeypatch, capsys, "--source", "flan2021", "--path", str(tmp_path))
    assert [task["splits"]["test"]["rows"] for task in content["tasks"]] == [1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "folder"], "source folder needs a path"),
        (["--source", "demo", "--path", "x"], "source demo takes no path"),
        (["x", "--path", "y"], "two folders: x and --path y"),
        (["nowhere"], "nowhere is not a folder"),
        (["--tasks", "demo_arithmetik"], "did you mean demo_arithmetic"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, *arguments)
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_sources_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="unknown source 'foldr': did you mean folder"):
        build("foldr")
    for name, entry in SOURCES.items():
        assert entry.path is not None or not entry.needs_path, name
    monkeypatch.setitem(sys.modules, "taskdepth.tasks.alpaca", None)
    with pytest.raises(DataError, match=r"not installed: no module taskdepth\.tasks\.alpaca"):
        build("alpaca", str(tmp_path))


def test_specs_are_made_when_asked_for() -> None:
    made = []

    def make(name: str) -> TaskSpec:
        made.append(name)
        return TaskSpec(name, "x", Kind.GENERATION)

    specs = Specs(["a", "b"], make, {"c": "c is lost"})
    assert (list(specs), len(specs), "a" in specs, "c" in specs) == (["a", "b"], 2, True, False)
    select_tasks(specs, ["b", "b"])
    select_tasks(specs, "b")
    assert made == ["b"]
    with pytest.raises(DataError, match="c is lost"):
        select_tasks(specs, ["b", "c"])
    with pytest.raises(KeyError):
        specs["d"]


def test_listing_imports_neither_torch_nor_datasets() -> None:
    script = (
        "import sys, taskdepth.tasks.__main__, taskdepth.tasks.flan_hub, taskdepth.tasks.alpaca;"
        "sys.exit(bool({'torch', 'datasets', 'transformers'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
