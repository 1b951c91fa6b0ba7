"""Every raw task on rows in the hub's columns, through a mirror folder and the real loading code."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flan_raw_rows import ROWS

from taskdepth.errors import ConfigError, DataError
from taskdepth.tasks.flan2021 import FLAN_TASKS
from taskdepth.tasks.flan_raw import FlanRawSource
from taskdepth.tasks.flan_raw.row import Row
from taskdepth.tasks.flan_raw.source import RAW_TASKS
from taskdepth.tasks.flan_raw.task import RawExample, RawTask, slots, worded
from taskdepth.tasks.spec import Kind
from taskdepth.types import Example, Split

# labels too common to be kept out of a text: in it they give nothing away
PLAIN_WORDS = {"yes", "no"}
RTE = {"premise": "It rains.", "hypothesis": "It is wet.", "idx": 0, "label": 0}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder where `datasets` would cache."""
    import datasets

    folder = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    return folder


def write(mirror: Path, task: str, split: str, rows: list[Any]) -> Path:
    path = mirror / task / f"{split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def hub_split(task: str, split: Split) -> str:
    own = FLAN_TASKS[task].slices[split].split
    return RAW_TASKS[task].hub_splits.get(own, own)


def test_every_task_with_a_hub_id_is_there_and_has_rows_here() -> None:
    wanted = [name for name, task in FLAN_TASKS.items() if task.hub is not None]
    assert list(RAW_TASKS) == wanted
    assert set(ROWS) == set(wanted)
    assert len(wanted) == 67


@pytest.mark.parametrize("name", RAW_TASKS)
def test_every_task_through_a_mirror(name: str, tmp_path: Path, cache: Path) -> None:
    mirror = tmp_path / "mirror"
    write(mirror, name, hub_split(name, Split.TEST), [row for row, _ in ROWS[name]])
    source = FlanRawSource(mirror)
    spec = source.specs()[name]
    examples = source.examples(name, Split.TEST)
    rows = list(examples)
    assert list(examples) == rows  # a second reading gives the same
    assert [row.targets for row in rows] == [targets for _, targets in ROWS[name] if targets]
    for row in rows:
        assert row.task == name
        assert row.example_id.startswith(f"{name}-")
        assert not row.inverted
        if spec.kind is Kind.CLASSIFICATION:
            assert row.label == row.target
            assert row.options == spec.labels
            assert spec.labels[spec.label_id(row.target)] == row.label
        elif spec.kind is Kind.MULTIPLE_CHOICE:
            assert row.label is None
            assert row.options is not None
            assert set(row.targets) <= set(row.options)
        else:
            assert (row.label, row.options) == (None, None)
    if spec.kind is Kind.CLASSIFICATION:
        assert {row.label for row in rows} == set(spec.labels)
    assert not cache.exists() or not [file for file in cache.rglob("*") if file.is_file()]
    assert source.skipped() == {}


@pytest.mark.parametrize("name", RAW_TASKS)
def test_every_template_of_every_task(name: str) -> None:
    task = RAW_TASKS[name]
    assert len(set(task.templates)) >= 3
    # data.prompt_template closes a prompt with "Answer:"; a second cue like it would confuse
    assert not [template for template in task.templates if template.rstrip().endswith(":")]
    for values, targets in ROWS[name]:
        raw = task.read(Row(values))
        assert (raw is None) == (not targets)
        if raw is None:
            continue
        prompts = [worded(template, raw.fields, None) for template in task.templates]
        assert len(set(prompts)) == len(prompts)
        for template, prompt in zip(task.templates, prompts, strict=True):
            assert slots(template), template
            assert slots(template) <= set(raw.fields)
            assert not re.search(r"[{}]", prompt), prompt
            assert not FLAN_TASKS[name].is_inverted(prompt)
            for label in set(task.spec.labels) - PLAIN_WORDS:
                assert not re.search(rf"(?<!\w){re.escape(label)}(?!\w)", prompt), (label, prompt)
        # nothing that a template can show is the answer
        assert not set(raw.fields.values()) & set(raw.targets)


@pytest.mark.parametrize("name", ["glue_mrpc", "record", "xsum", "wmt16_translate_deen"])
def test_all_templates_come_up_and_options_are_listed_last(name: str) -> None:
    task = RAW_TASKS[name]
    values, _ = ROWS[name][0]
    rows = [task.example(f"{name}-train-{number}", Row(values)) for number in range(80)]
    prompts = {row.prompt for row in rows if row is not None}
    assert len(prompts) == len(task.templates)
    options = next(row.options for row in rows if row is not None)
    for prompt in prompts:
        listed = re.search(r"\nOptions:((?:\n- .+)+)$", prompt)
        assert bool(listed) == (options is not None)
        if listed and options is not None:
            assert listed[1].split("\n- ")[1:] == list(options)


@pytest.mark.slow
def test_ids_and_wordings_are_the_same_in_another_process(tmp_path: Path) -> None:
    write(tmp_path, "rte", "validation", [RTE] * 5)
    here = [
        (row.example_id, row.prompt) for row in FlanRawSource(tmp_path).examples("rte", Split.TEST)
    ]
    assert [name for name, _ in here] == [f"rte-test-{number}" for number in range(5)]
    assert len({prompt for _, prompt in here}) > 1
    script = (
        "import sys, json; from taskdepth.tasks.flan_raw import FlanRawSource as S;"
        "from taskdepth.types import Split;"
        "rows = S(sys.argv[1]).examples('rte', Split.TEST);"
        "print(json.dumps([[r.example_id, r.prompt] for r in rows]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [tuple(row) for row in json.loads(result.stdout)] == here


def numbers(rows: list[Example]) -> list[int]:
    return [int(row.example_id.rsplit("-", 1)[1]) for row in rows]


@pytest.mark.parametrize(
    ("task", "n_rows", "train", "validation"),
    [
        ("rte", 500, (0, 300), (300, 500)),  # train[:-200], train[-200:]
        ("rte", 150, (0, 0), (0, 150)),
        ("qnli", 500, (0, 300), (300, 500)),  # train[:30000] would take validation's rows too
        ("wnli", 100, (0, 70), (70, 100)),
        ("word_segment", 100, (0, 0), (0, 0)),  # train[60400:90400]: beyond the end
    ],
)
def test_slices_of_one_split(
    task: str, n_rows: int, train: tuple[int, int], validation: tuple[int, int], tmp_path: Path
) -> None:
    write(tmp_path, task, "train", [ROWS[task][0][0]] * n_rows)
    source = FlanRawSource(tmp_path)
    for split, bounds in ((Split.TRAIN, train), (Split.VALIDATION, validation)):
        assert numbers(list(source.examples(task, split))) == list(range(*bounds))


def test_training_gives_way_to_validation_and_test(tmp_path: Path) -> None:
    """para_crawl_enes: train[:30000], train[-1200:-1000], train[-1000:]."""
    write(tmp_path, "para_crawl_enes", "train", [ROWS["para_crawl_enes"][0][0]] * 1500)
    source = FlanRawSource(tmp_path)
    parts = {split: numbers(list(source.examples("para_crawl_enes", split))) for split in Split}
    assert parts[Split.TRAIN] == list(range(300))
    assert parts[Split.VALIDATION] == list(range(300, 500))
    assert parts[Split.TEST] == list(range(500, 1500))


def test_leading_rows_are_taken_without_counting(tmp_path: Path) -> None:
    """xsum's validation[:200] never gets to the rows behind, which cannot be used."""
    good = ROWS["xsum"][0][0]
    lines = [good | {"id": str(number)} for number in range(200)]
    write(tmp_path, "xsum", "validation", [*lines, good | {"document": ""}])
    rows = list(FlanRawSource(tmp_path).examples("xsum", Split.VALIDATION))
    assert [row.example_id for row in rows] == [f"xsum-{number}" for number in range(200)]


def test_a_mirror_may_be_called_anything(tmp_path: Path) -> None:
    mirror = tmp_path / "a [1]*, b?"
    write(mirror, "rte", "validation", [RTE])
    assert len(list(FlanRawSource(mirror).examples("rte", Split.TEST))) == 1


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_other_formats(suffix: str, tmp_path: Path) -> None:
    folder = tmp_path / "rte"
    folder.mkdir()
    rows = [RTE, RTE | {"label": 1}]
    if suffix == "csv":
        with (folder / "validation.csv").open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, list(RTE))
            writer.writeheader()
            writer.writerows(rows)
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), folder / "validation.parquet")
    found = FlanRawSource(tmp_path).examples("rte", Split.TEST)
    assert [row.label for row in found] == ["yes", "no"]


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        ("rte", {"premise": "x", "label": 0}, "no column 'hypothesis'; found label, premise"),
        ("rte", RTE | {"label": -1}, "is -1: the labels of this split are not public"),
        ("rte", RTE | {"label": 2}, "'label' must be one of 0, 1, found 2"),
        ("rte", RTE | {"label": "maybe"}, "'label' must hold a number, found 'maybe'"),
        ("rte", RTE | {"premise": "  "}, "'premise' must hold text, found '  '"),
        ("rte", RTE | {"premise": 3}, "'premise' must hold text, found 3"),
        ("stsb", ROWS["stsb"][0][0] | {"label": 7.0}, "must lie between 0 and 5, found 7.0"),
        ("stsb", ROWS["stsb"][0][0] | {"label": "x"}, "must hold a number, found 'x'"),
        ("copa", ROWS["copa"][0][0] | {"question": "why"}, "one of cause, effect, found 'why'"),
        (
            "arc_easy",
            ROWS["arc_easy"][0][0] | {"answerKey": "E"},
            "'E' points at none of 3 choices",
        ),
        ("record", ROWS["record"][0][0] | {"answers": ["Eve"]}, "'Eve' is not among the options"),
        ("record", ROWS["record"][0][0] | {"answers": []}, "no answer"),
        (
            "squad_v1",
            ROWS["squad_v1"][0][0] | {"answers": "x"},
            "'answers' must hold fields, found",
        ),
        ("natural_questions", {"question": "q", "answer": "a"}, "must hold a list of texts"),
        ("coqa", ROWS["coqa"][0][0] | {"questions": []}, "without a question"),
        ("quac", ROWS["quac"][0][0] | {"answers": {"texts": []}}, "a list per question"),
        ("dart", ROWS["dart"][0][0] | {"tripleset": ["x"]}, "must hold a list of triples"),
    ],
)
def test_rows_that_cannot_be_used(
    task: str, row: dict[str, Any], message: str, tmp_path: Path
) -> None:
    split = hub_split(task, Split.TEST)
    write(tmp_path, task, split, [row])
    with pytest.raises(DataError, match=rf"^{task}:{split}:0: .*{re.escape(message)}"):
        list(FlanRawSource(tmp_path).examples(task, Split.TEST))
    source = FlanRawSource(tmp_path, on_error="skip")
    assert list(source.examples(task, Split.TEST)) == []
    assert list(source.examples(task, Split.TEST)) == []
    assert [message in line for line in source.skipped()[task]] == [True]


def test_a_mirror_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.path=.*nowhere is not a folder"):
        FlanRawSource(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no folder named like a task of FLAN"):
        FlanRawSource(tmp_path)
    with pytest.raises(ConfigError, match="neither raise nor skip"):
        FlanRawSource(tmp_path, on_error="ignore")
    write(tmp_path, "rte", "validation", ["{"])
    source = FlanRawSource(tmp_path)
    with pytest.raises(DataError, match=r"rte: cannot read validation: \w+: ") as caught:
        list(source.examples("rte", Split.TEST))
    assert "\n" not in str(caught.value)
    with pytest.raises(
        DataError, match=r"no file for a split: train.jsonl, train.parquet, train.csv"
    ):
        list(source.examples("rte", Split.TRAIN))
    write(tmp_path, "rte", "train", [])
    with pytest.raises(DataError, match=r"train\.jsonl holds no rows"):
        list(source.examples("rte", Split.TRAIN))
    (tmp_path / "rte" / "validation.csv").write_text("x\n")
    with pytest.raises(DataError, match="more than one file for a split"):
        list(source.examples("rte", Split.TEST))


def test_what_is_served_and_what_is_missing(tmp_path: Path) -> None:
    source = FlanRawSource()
    assert set(source.specs()) | set(source.missing()) == set(FLAN_TASKS)
    assert set(source.missing()) == {
        "newsroom",
        "story_cloze",
        "opinion_abstracts_idebate",
        "opinion_abstracts_rotten_tomatoes",
    }
    with pytest.raises(DataError, match=r"newsroom: .*<folder>/newsroom/{test,train,validation}"):
        source.examples("newsroom", Split.TEST)
    with pytest.raises(DataError, match="idebate: its raw data set is not on the Hugging Face hub"):
        source.examples("opinion_abstracts_idebate", Split.TEST)
    with pytest.raises(DataError, match="unknown task 'rtee': did you mean rte"):
        source.examples("rtee", Split.TEST)
    write(tmp_path, "newsroom", "test", [ROWS["newsroom"][0][0]])
    write(tmp_path, "newsroom", "train", [ROWS["newsroom"][0][0]])
    local = FlanRawSource(tmp_path)
    assert list(local.specs()) == ["newsroom"]
    assert local.missing()["rte"] == f"{tmp_path / 'rte'} is no folder"
    texts = list(local.plain_text(Split.TEST))
    assert len(texts) == 1
    assert texts[0].endswith("\nIt rained.")


def test_an_unreachable_hub_is_told_in_one_line() -> None:
    with pytest.raises(DataError, match=r"cannot read validation of aps/super_glue") as caught:
        next(iter(FlanRawSource().examples("rte", Split.TEST)))
    message = str(caught.value)
    assert "\n" not in message
    assert "data.path=<folder> reads <folder>/rte/validation.jsonl" in message


class Hub:
    """Stands in for `datasets.load_dataset`: a script whose Parquet copy has 500 rows."""

    def __init__(self, counted: bool) -> None:
        self.asked: list[dict[str, Any]] = []
        self._counted = counted

    def __call__(self, path: str, config: str | None = None, **kwargs: Any) -> Any:
        import datasets

        self.asked.append({"path": path, "config": config, **kwargs})
        if "revision" not in kwargs:
            raise RuntimeError("Dataset scripts are no longer supported, but found super_glue.py")
        rows = datasets.Dataset.from_list([RTE] * 500).to_iterable_dataset()
        if self._counted:
            sizes = {"train": datasets.SplitInfo("train", num_examples=500)}
            rows.info.splits = datasets.SplitDict(sizes)
        return rows


@pytest.mark.parametrize("counted", [True, False])
def test_scripts_are_read_from_the_hubs_parquet_copy(
    counted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(counted)
    monkeypatch.setattr("datasets.load_dataset", hub)
    rows = list(FlanRawSource().examples("rte", Split.VALIDATION))
    assert numbers(rows) == list(range(300, 500))
    assert hub.asked[0] == {
        "path": "aps/super_glue",
        "config": "rte",
        "split": "train",
        "streaming": True,
    }
    assert hub.asked[1] == {
        "path": "aps/super_glue",
        "config": None,
        "split": "train",
        "streaming": True,
        "revision": "refs/convert/parquet",
        "data_files": {"train": "rte/train/*.parquet"},
    }


def test_bad_tasks_are_refused() -> None:
    def read(row: Row) -> RawExample:
        return RawExample({}, ("x",))

    with pytest.raises(DataError, match="rtee is no task of FLAN"):
        RawTask("rtee", read, ("1", "2", "3"))
    for templates in (("1", "2"), ("1", "2", "2")):
        with pytest.raises(DataError, match="at least 3 different templates"):
            RawTask("rte", read, templates)
