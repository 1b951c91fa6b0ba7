from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from taskdepth.errors import ConfigError, DataError
from taskdepth.tasks.natural_instructions import NaturalInstructionsSource, closed_labels
from taskdepth.tasks.spec import Kind, select_tasks
from taskdepth.types import Example, Split

DEFINITION = "Say whether the film is Good or Bad."


def instance(number: int, text: str, *outputs: str) -> dict[str, Any]:
    return {"id": f"task1-{number}", "input": text, "output": list(outputs)}


REVIEWS = [instance(i, f"Review {i}.", "Good" if i % 2 else "Bad") for i in range(200)]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "splits" / "default").mkdir(parents=True)
    (tmp_path / "tasks").mkdir()
    write(tmp_path, "task001_films", REVIEWS)
    write(tmp_path, "task002_titles", [instance(i, f"T {i}", f"Title {i}") for i in range(20)])
    write(tmp_path, "task003_left", REVIEWS[:3])
    for name, tasks in [
        ("train", "task001_films\n\ntask009_lost\n"),
        ("test", "task002_titles"),
    ]:
        (tmp_path / "splits" / "default" / f"{name}_tasks.txt").write_text(tasks)
    return tmp_path


def write(clone: Path, task: str, instances: list[Any], **other: Any) -> Path:
    content = {
        "Contributors": ["x"],
        "Categories": ["Sentiment Analysis"],
        "Definition": [DEFINITION],
        "Input_language": ["English"],
        "Positive Examples": [{"input": "a", "output": "Good", "explanation": ""}],
        "Negative Examples": [],
        "Instances": instances,
    }
    file = clone / "tasks" / f"{task}.json"
    file.write_text(json.dumps(content | other, indent=4), encoding="utf-8")
    return file


def everything(source: NaturalInstructionsSource, task: str) -> dict[Split, list[Example]]:
    return {split: list(source.examples(task, split)) for split in Split}


def test_a_task_of_the_official_training_tasks(clone: Path) -> None:
    source = NaturalInstructionsSource(clone)
    assert list(source.specs()) == ["task001_films"]
    spec = source.specs()["task001_films"]
    assert (spec.cluster, spec.kind) == ("Sentiment Analysis", Kind.CLASSIFICATION)
    assert spec.labels == ("Bad", "Good")
    splits = everything(source, "task001_films")
    assert min(map(len, splits.values())) >= 10
    rows = [row for found in splits.values() for row in found]
    assert sorted(row.example_id for row in rows) == sorted(
        f"task001_films-{i}" for i in range(200)
    )
    assert {row.prompt.split("\n\n")[0] for row in rows} == {DEFINITION}
    # the definition names both labels in every row: that gives nothing away
    assert all(row.label == row.target and not row.inverted for row in rows)
    assert splits == everything(NaturalInstructionsSource(clone), "task001_films")
    assert len(list(source.plain_text(Split.TEST))) == len(splits[Split.TEST])


def test_task_split_chooses_the_tasks(clone: Path) -> None:
    test = NaturalInstructionsSource(clone, task_split="test").specs()
    assert [s.name for s in select_tasks(test, "all")] == ["task002_titles"]
    assert test["task002_titles"].kind is Kind.GENERATION
    assert len(NaturalInstructionsSource(clone, task_split="all").specs()) == 3
    for name, message in [
        ("task003_left", "is not among the test tasks: set task_split=all"),
        ("task099_none", "unknown task"),
    ]:
        with pytest.raises(DataError, match=message):
            select_tasks(test, [name])
    with pytest.raises(DataError, match="task009_lost has no file in"):
        select_tasks(NaturalInstructionsSource(clone).specs(), ["task009_lost"])
    with pytest.raises(ConfigError, match="task_split=dev is not one of train, test, all"):
        NaturalInstructionsSource(clone, task_split="dev")


def test_choosing_one_task_reads_no_other(clone: Path) -> None:
    (clone / "tasks" / "task003_left.json").write_text("{")
    specs = NaturalInstructionsSource(clone, task_split="all").specs()
    assert len(select_tasks(specs, ["task001_films", "task002_titles"])) == 2
    with pytest.raises(DataError, match=r"task003_left\.json:1: not JSON"):
        select_tasks(specs, "all")


def test_a_repeated_input_stays_in_one_split_across_tasks(clone: Path) -> None:
    write(clone, "task004_again", [instance(i, f" review  {i}.", str(i)) for i in range(200)])
    source = NaturalInstructionsSource(clone, task_split="all")
    for split in Split:
        films, again = (
            {int(row.example_id.rpartition("-")[2]) for row in source.examples(task, split)}
            for task in ("task001_films", "task004_again")
        )
        assert films == again


def test_an_answer_that_the_input_names_is_not_for_probes(clone: Path) -> None:
    named = instance(200, "They call it Good.", "Bad")
    odd = instance(201, "Hm.", "Godo")
    write(clone, "task001_films", [*REVIEWS, named, odd])
    rows = everything(NaturalInstructionsSource(clone), "task001_films")
    found = {row.example_id: row for part in rows.values() for row in part}
    assert (found["task001_films-200"].label, found["task001_films-200"].inverted) == ("Bad", True)
    assert (found["task001_films-201"].label, found["task001_films-201"].inverted) == (None, True)


@pytest.mark.parametrize(
    ("outputs", "labels"),
    [
        ([], ()),
        ([["yes"]] * 50, ()),  # constant
        ([["a"], ["b"]] * 4, ()),  # too few rows to tell
        ([["a"], [" b "]] * 5, ("a", "b")),
        (["a", "b"] * 5, ("a", "b")),
        ([["a", "a"], ["b"]] * 5, ("a", "b")),
        ([["a", "c"], ["b"]] * 5, ()),  # several right answers
        ([["a"], ["one two three four five six"]] * 5, ()),
        ([[str(i)] for i in range(20)] * 5, tuple(sorted(map(str, range(20))))),
        ([[str(i)] for i in range(21)] * 5, ()),
        ([["a"], ["b"]] * 100 + [["c"], ["d"]], ("a", "b")),  # 2 typing errors in 202
        ([["a"], ["b"]] * 50 + [["c"], ["d"]], ()),
    ],
)
def test_closed_labels(outputs: list[Any], labels: tuple[str, ...]) -> None:
    assert closed_labels(outputs) == closed_labels(outputs[::-1]) == labels


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("x", "instance 1: expected an object, found str"),
        ({"input": "a"}, "instance 1: no field 'output'; found input"),
        (instance(1, " ", "Good"), "instance 1: input must be a non-empty string"),
        (instance(1, "a", ""), "instance 1: output must hold at least one"),
        (instance(1, "a"), "instance 1: output must hold at least one"),
    ],
)
def test_bad_instances_are_raised_or_listed(clone: Path, bad: Any, message: str) -> None:
    write(clone, "task001_films", [REVIEWS[0], bad, *REVIEWS[2:]])
    with pytest.raises(DataError, match=rf"task001_films\.json: {message}"):
        everything(NaturalInstructionsSource(clone), "task001_films")
    source = NaturalInstructionsSource(clone, on_error="skip")
    assert sum(map(len, everything(source, "task001_films").values())) == 199
    assert len(source.skipped()["task001_films"]) == 1


def test_wrong_clones_are_named(clone: Path) -> None:
    with pytest.raises(DataError, match="no clone of natural-instructions: no folder tasks/"):
        NaturalInstructionsSource(clone / "splits")
    write(clone, "task001_films", REVIEWS).write_text('{"Instances": []}')
    with pytest.raises(DataError, match="no field 'Definition'; found Instances"):
        NaturalInstructionsSource(clone).specs()["task001_films"]
    (clone / "splits" / "default" / "train_tasks.txt").write_text("task777\n")
    with pytest.raises(DataError, match="holds none of the train tasks"):
        NaturalInstructionsSource(clone).specs()
    (clone / "splits" / "default" / "train_tasks.txt").unlink()
    with pytest.raises(DataError, match=r"no file .*train_tasks\.txt: set task_split=all"):
        NaturalInstructionsSource(clone).specs()
