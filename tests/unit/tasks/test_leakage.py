from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskdepth.tasks.folder import FolderSource
from taskdepth.tasks.leakage import LeakageReport, Place, find_leakage
from taskdepth.tasks.rows import Rows
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example, Split

TRAIN, VALIDATION, TEST = Split


def report_of(folder: Path, **tasks: list[tuple[str, str]]) -> LeakageReport:
    for task, rows in tasks.items():
        lines = [
            {
                "example_id": f"{task}{i}",
                "split": split,
                "prompt": prompt.removesuffix("#"),
                "targets": ["x"],
                "inverted": prompt.endswith("#"),
            }
            for i, (split, prompt) in enumerate(rows)
        ]
        (folder / f"{task}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    source = FolderSource(folder)
    return find_leakage(source, source.specs().values())


def test_the_same_prompt_in_two_splits_and_in_two_tasks(tmp_path: Path) -> None:
    report = report_of(
        tmp_path,
        a=[
            ("train", "One  fact"),
            ("train", "one fact"),
            ("train", "two facts"),
            ("test", " ONE\nfact "),
            ("test", "Two facts"),
            ("test", "other"),
        ],
        b=[("train", "one fact"), ("validation", "OTHER"), ("test", "alone")],
    )
    assert report.n_rows[Place("a", TRAIN)] == 3
    assert report.n_prompts[Place("a", TRAIN)] == 2
    assert report.n_rows[Place("a", VALIDATION)] == 0
    within = report.across_splits
    assert [(o.first, o.second, o.n_prompts, o.example_ids) for o in within] == [
        (Place("a", TRAIN), Place("a", TEST), 2, ("a3", "a4"))
    ]
    assert {(o.first, o.second, o.n_prompts) for o in report.across_tasks} == {
        (Place("a", TRAIN), Place("b", TRAIN), 1),
        (Place("a", TEST), Place("b", TRAIN), 1),
        (Place("a", TEST), Place("b", VALIDATION), 1),
    }
    assert report.overlaps[0] == within[0]  # the largest first
    assert report.rows()[0] == ("a train", "a test", 2, "a3, a4")
    shown = json.loads(json.dumps(report.to_dict()))
    assert shown["overlaps"][0] == {
        "first": ["a", "train"],
        "second": ["a", "test"],
        "prompts": 2,
        "example_ids": ["a3", "a4"],
    }
    assert shown["places"][0] == {"task": "a", "split": "train", "rows": 3, "prompts": 2}


def test_inverted_rows_are_no_leakage_and_few_ids_are_kept(tmp_path: Path) -> None:
    many = [(split, f"fact {i}") for split in ("train", "test") for i in range(10)]
    report = report_of(tmp_path, a=[("train", "Write.#"), ("test", "Write.#"), *many])
    (overlap,) = report.overlaps
    assert (overlap.n_prompts, len(overlap.example_ids)) == (10, 3)
    assert report.n_rows[Place("a", TEST)] == 10


def test_nothing_in_common(tmp_path: Path) -> None:
    report = report_of(tmp_path, a=[("train", "a"), ("test", "b")])
    assert report.overlaps == report.across_splits == report.across_tasks == ()


@pytest.mark.slow
def test_memory_is_16_bytes_a_prompt_and_what_a_dictionary_needs() -> None:
    class Endless:
        def examples(self, task: str, split: Split) -> Rows:
            def read() -> Iterator[Example]:
                return (Example(str(i), task, f"{i} " * 500, ("x",)) for i in range(5_000))

            return Rows(read)

    tracemalloc.start()
    report = find_leakage(Endless(), [TaskSpec("a", "x", Kind.GENERATION)])  # type: ignore[arg-type]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [o.n_prompts for o in report.overlaps] == [5_000] * 3
    assert peak / 5_000 < 250


@pytest.mark.parametrize("split", list(Split))
def test_places_print_as_words(split: Split) -> None:
    assert str(Place("rte", split)) == f"rte {split.value}"
