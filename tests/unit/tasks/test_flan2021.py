"""The table of FLAN's 69 tasks against the two TSV files and the genuine rows, where these are at hand."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from taskdepth.errors import DataError
from taskdepth.tasks.flan2021 import FLAN_TASKS, SCORES, FlanTask
from taskdepth.tasks.slices import Slice, without
from taskdepth.tasks.spec import Kind, Score, TaskSpec
from taskdepth.types import Split

SHARED = Path(os.environ.get("TASKDEPTH_SHARED", Path(__file__).parents[4] / "shared"))
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(),
    reason=f"{SHARED} is no folder; TASKDEPTH_SHARED=<folder> has FLAN's tables and rows",
)
# targets longer than their prompts that are answers all the same: (task, how the prompt begins or ends)
LONGER_ANSWERS = (
    ("cnn_dailymail", r"LANSING, Michigan \(CNN$"),  # the article is cut off in the data set
    ("opinion_abstracts_idebate", r"What is a possible side to this debate\?$"),
    ("opinion_abstracts_rotten_tomatoes", r"^Write a one sentence review of the movie"),
    (
        "wiki_lingua_english_en",
        r"^Article: You can also mix|^Summarize the following:\nLet dry",
    ),  # short articles
)
# targets shorter than their prompts that are no answers: what is the topic, which film is it
SHORTER_INVERTED = (
    ("opinion_abstracts_idebate", r"^What (is the )?debate topic "),
    ("opinion_abstracts_rotten_tomatoes", r"^Which movie "),
)


def table(name: str) -> dict[str, dict[str, str]]:
    with (SHARED / name).open(encoding="utf-8", newline="") as handle:
        return {row["task"]: row for row in csv.DictReader(handle, delimiter="\t")}


def genuine(task: str) -> Iterator[tuple[str, str]]:
    """Prompt and target of every row in the mirror of Muennighoff/flan."""
    for split in Split:
        path = SHARED / "data" / "flan2021" / split / f"{task}_10templates_{split}.jsonl"
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                yield row["inputs"], row["targets"]


def named(exceptions: tuple[tuple[str, str], ...], task: str, prompt: str) -> bool:
    return any(task == name and re.search(words, prompt) for name, words in exceptions)


@needs_shared
def test_the_table_equals_the_files_column_by_column() -> None:
    first, second = table("flan_tasks.tsv"), table("flan_tasks_extra.tsv")
    assert set(first) == set(second) == set(FLAN_TASKS)
    for name, task in FLAN_TASKS.items():
        row = first[name] | second[name]
        labels = tuple(sorted(filter(None, row["labels"].split("|"))))
        spec = task.spec
        assert (spec.name, spec.cluster, spec.kind, spec.labels) == (
            (name, row["cluster"], row["kind"], labels)
        )
        assert (task.metric, task.subcluster) == (row["metric"], row["flan_subcluster"])
        assert task.tfds == row["tfds_name"]
        assert task.slices == {split: Slice.parse(row[split]) for split in Split}
        assert task.n_templates == int(row["n_templates"])
        inverted = row["n_templates_nonanswer_target"]
        assert task.n_inverted_templates == (int(inverted) if inverted else None)
        assert task.in_hub_mirror == (row["in_Muennighoff_flan"] == "yes")
        config, _, remark = row["hf_config"].partition("(")
        assert (task.hub is None) == (not row["hf_dataset"])
        if task.hub is not None:
            assert (task.hub.path, task.hub.config) == (row["hf_dataset"], config.strip() or None)
            assert task.hub.manual == ("manual" in remark)


def test_sizes_scores_and_clusters() -> None:
    assert len(FLAN_TASKS) == 69
    assert len({task.spec.cluster for task in FLAN_TASKS.values()}) == 12
    assert {task.metric for task in FLAN_TASKS.values()} == set(SCORES)
    for task in FLAN_TASKS.values():
        closed = task.spec.kind is not Kind.GENERATION
        assert (task.spec.score is Score.ACCURACY) == (closed and task.spec.name != "record")
    with pytest.raises(TypeError):
        FLAN_TASKS["mine"] = FLAN_TASKS["rte"]  # type: ignore[index]


@pytest.mark.parametrize("name", FLAN_TASKS)
def test_free_text_tasks_with_inverted_templates_have_cues(name: str) -> None:
    task = FLAN_TASKS[name]
    wanted = task.spec.kind is Kind.GENERATION and task.n_inverted_templates != 0
    assert bool(task.inverted_cues) == wanted
    if task.n_inverted_templates is not None and wanted:
        assert 0 < len(task.inverted_cues) <= task.n_inverted_templates


@pytest.mark.parametrize(
    ("name", "prompt", "expected"),
    [
        ("newsroom", "Some article.\n\nWrite a title for it.", True),
        ("newsroom", "A title\nSome article.\nWhat was this article about?", False),
        ("xsum", 'Write an article based on this "Rain fell."', True),
        ("xsum", "Summarize:\n\nHow to Write an article based on this summary: a guide", False),
        ("wiki_lingua_english_en", "Write an article based on this summary:\n\nBoil it.", True),
        ("samsum", "Write a dialog about anything you want", True),
        ("samsum", "Ann: Write a dialog!\n\nBriefly summarize that dialogue.", False),
        ("squad_v1", "Ask a question about Oslo.", True),
        ("squad_v1", "Answer a question about this article:\nOslo.\nWhere is Oslo?", False),
        ("wmt14_enfr", "Bonjour.\n\nWhich language is this?", True),
        ("wmt14_enfr", "Write a sentence not in English.", True),
        ("wmt14_enfr", "Bonjour.\n\nTranslate to English", False),
        ("para_crawl_enes", "Write a sentence in Spanish.", True),
        ("rte", "Generate a context and a hypothesis.", False),  # told by its target
    ],
)
def test_inverted_prompts(name: str, prompt: str, expected: bool) -> None:
    assert FLAN_TASKS[name].is_inverted(prompt) == expected


@needs_shared
@pytest.mark.parametrize(
    "name", [name for name, task in FLAN_TASKS.items() if task.spec.cluster == "summarization"]
)
def test_a_summary_is_inverted_when_its_target_is_longer_than_its_prompt(name: str) -> None:
    task = FLAN_TASKS[name]
    for prompt, target in genuine(name):
        longer = len(target) > len(prompt)
        if task.is_inverted(prompt) != longer and task.spec.kind is Kind.GENERATION:
            assert named(LONGER_ANSWERS if longer else SHORTER_INVERTED, name, prompt), prompt


@needs_shared
def test_cues_are_met_in_the_genuine_rows_and_leave_answers_alone() -> None:
    met = {
        name: {cue for cue in task.inverted_cues for p, _ in genuine(name) if re.search(cue, p)}
        for name, task in FLAN_TASKS.items()
    }
    with_rows = [name for name, task in FLAN_TASKS.items() if any(genuine(name))]
    assert len(with_rows) == 66
    assert sum(map(len, met.values())) > 30
    unmet = [name for name in with_rows if FLAN_TASKS[name].inverted_cues and not met[name]]
    assert unmet == ["wiki_lingua_english_en"]  # none of its rows here is inverted
    for prompt, target in genuine("true_case"):
        assert FLAN_TASKS["true_case"].is_inverted(prompt) == (target == target.lower())
    for prompt, target in genuine("word_segment"):
        assert FLAN_TASKS["word_segment"].is_inverted(prompt) == (" " not in target)


@pytest.mark.parametrize(
    ("expression", "n_rows", "expected"),
    [
        ("train", 500, ("train", 0, 500)),
        ("train[:-200]", 500, ("train", 0, 300)),
        ("train[-200:]", 500, ("train", 300, 500)),
        ("train[-200:]", 120, ("train", 0, 120)),
        ("train[:-200]", 120, ("train", 0, 0)),
        ("train[:30000]", 100, ("train", 0, 100)),
        ("train[30200:60200]", 50000, ("train", 30200, 50000)),
        ("train[-600:-500]", 1000, ("train", 400, 500)),
        ("train_xl[:30000]", 40398, ("train_xl", 0, 30000)),
        ("validation[:200]", 0, ("validation", 0, 0)),
        ("train[:]", 7, ("train", 0, 7)),
    ],
)
def test_split_expressions(expression: str, n_rows: int, expected: tuple[str, int, int]) -> None:
    part = Slice.parse(expression)
    rows = part.rows(n_rows)
    assert (part.split, rows.start, rows.stop) == expected
    assert part.needs_count == ("-" in expression)


@pytest.mark.parametrize(
    "expression", ["", "train[", "train[5]", "train[:10%]", "train[:a]", "train[1:2:3]", "a b"]
)
def test_other_split_expressions_are_refused(expression: str) -> None:
    with pytest.raises(DataError, match="is not like train"):
        Slice.parse(expression)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("train", "test", False),
        ("train[:30000]", "train[-200:]", True),
        ("train[:30000]", "train[30000:30200]", False),
        ("train[:30001]", "train[30000:30200]", True),
        ("train", "train[5:]", True),
    ],
)
def test_overlap(one: str, other: str, expected: bool) -> None:
    slices = Slice.parse(one), Slice.parse(other)
    assert slices[0].overlaps(slices[1]) == slices[1].overlaps(slices[0]) == expected


def test_what_is_taken_is_left_out() -> None:
    assert without(range(0, 100), []) == range(0, 100)
    assert without(range(0, 100), [range(80, 100), range(90, 300)]) == range(0, 80)
    assert not without(range(10, 20), [range(0, 50)])
    assert without(range(0, 100), [range(100, 100)]) == range(0, 100)


RTE = FLAN_TASKS["rte"]


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        (RTE, {"spec": TaskSpec("t", "c", Kind.CLASSIFICATION, ("yes", "no"))}, "sorted"),
        (RTE, {"spec": TaskSpec("t", "c", Kind.GENERATION, ("no", "yes"))}, "only there"),
        (RTE, {"spec": TaskSpec("t", "c", Kind.CLASSIFICATION)}, "only there"),
        (RTE, {"inverted_cues": ("x",)}, "free text only"),
        (FLAN_TASKS["coqa"], {"inverted_cues": ("x", "y")}, "more cues"),
        (FLAN_TASKS["drop"], {"inverted_cues": ("x", "x")}, "one twice"),
        (FLAN_TASKS["drop"], {"inverted_cues": ("(",)}, r"cue '\('"),
    ],
)
def test_a_contradictory_task_is_refused(
    task: FlanTask, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        replace(task, **changes)  # type: ignore[arg-type]
