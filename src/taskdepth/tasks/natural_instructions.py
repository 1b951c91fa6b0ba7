"""`NaturalInstructionsSource`: Super-NaturalInstructions from a local clone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from taskdepth.errors import ConfigError, DataError
from taskdepth.tasks.bad_rows import BadRows
from taskdepth.tasks.probe_safety import judged
from taskdepth.tasks.rows import Rows, running_text
from taskdepth.tasks.spec import Kind, Specs, TaskSpec
from taskdepth.tasks.splitting import check_shares, split_of
from taskdepth.types import Example, Split

TASK_SPLITS = ("train", "test", "all")
MAX_LABELS = 20
MAX_LABEL_WORDS = 5
MAX_STRAY_SHARE = 0.01


class NaturalInstructionsSource:
    """The tasks of a clone of https://github.com/allenai/natural-instructions.

    `task_split`: the tasks of its `splits/default/train_tasks.txt` or `test_tasks.txt`, or `all` files
    of `tasks/`. A task's cluster is its first category, its prompt the definition followed by the
    instance's input. Rows are dealt out to train, validation and test by their input, so that an input
    that is there twice stays within one split, also across tasks. Label sets are those of
    `closed_labels`. One task file at a time is in memory.

    Raises:
        DataError: the folder is no such clone, or a file is not what is described here.
    """

    def __init__(
        self,
        path: str | Path,
        task_split: str = "train",
        on_error: str = "raise",
        validation: float = 0.1,
        test: float = 0.1,
    ) -> None:
        if task_split not in TASK_SPLITS:
            raise ConfigError(f"task_split={task_split} is not one of {', '.join(TASK_SPLITS)}")
        check_shares(validation, test)
        self._shares = (validation, test)
        self._task_split = task_split
        self._bad_rows = BadRows(on_error)
        self._root = Path(path)
        if not (self._root / "tasks").is_dir():
            raise DataError(
                f"data.path={path} is no clone of natural-instructions: no folder tasks/"
            )

    def specs(self) -> Mapping[str, TaskSpec]:
        return self._specs

    def examples(self, task: str, split: Split) -> Rows:
        self._specs.known(task)
        return Rows(lambda: self._read(task, split))

    def plain_text(self, split: Split) -> Iterator[str]:
        return running_text(self, split)

    def skipped(self) -> Mapping[str, tuple[str, ...]]:
        return self._bad_rows.listed()

    @cached_property
    def _specs(self) -> Specs:
        there = sorted(file.stem for file in (self._root / "tasks").glob("*.json"))
        if not there:
            raise DataError(f"{self._root / 'tasks'} holds no .json file")
        if self._task_split == "all":
            return Specs(there, self._spec)
        listed = self._listed()
        absent = {
            name: f"task {name} is not among the {self._task_split} tasks: set task_split=all"
            for name in there
            if name not in listed
        }
        absent |= {
            name: f"task {name} has no file in {self._root / 'tasks'}"
            for name in listed
            if name not in there
        }
        names = [name for name in there if name in listed]
        if not names:
            raise DataError(f"{self._root / 'tasks'} holds none of the {self._task_split} tasks")
        return Specs(names, self._spec, absent)

    def _listed(self) -> set[str]:
        file = self._root / "splits" / "default" / f"{self._task_split}_tasks.txt"
        if not file.is_file():
            raise DataError(f"no file {file}: set task_split=all to take every task")
        return {line.strip() for line in file.read_text(encoding="utf-8").splitlines()} - {""}

    def _spec(self, task: str) -> TaskSpec:
        content = self._content(task)
        labels = closed_labels([row.get("output") for row in _instances(content)])
        cluster = _strings(content.get("Categories"))
        kind = Kind.CLASSIFICATION if labels else Kind.GENERATION
        return TaskSpec(task, cluster[0] if cluster else "misc", kind, labels)

    def _content(self, task: str) -> dict[str, Any]:
        file = self._file(task)
        try:
            content = json.loads(file.read_bytes())
        except UnicodeDecodeError as error:
            raise DataError(f"{file}: not UTF-8 at byte {error.start}") from None
        except json.JSONDecodeError as error:
            raise DataError(f"{file}:{error.lineno}: not JSON: {error.msg}") from None
        for field in ("Definition", "Instances"):
            if not isinstance(content, dict) or field not in content:
                found = ", ".join(sorted(content)) if isinstance(content, dict) else "no object"
                raise DataError(f"{file}: no field {field!r}; found {found}")
        return dict(content)

    def _file(self, task: str) -> Path:
        return self._root / "tasks" / f"{task}.json"

    def _read(self, task: str, split: Split) -> Iterator[Example]:
        spec = self._specs[task]
        content = self._content(task)
        definition = "\n".join(_strings(content["Definition"])).strip()

        def parsed(row: tuple[int, Any]) -> tuple[Split, Example]:
            number, instance = row
            place = f"{self._file(task)}: instance {number}"
            text, outputs = _instance(instance, place)
            prompt = f"{definition}\n\n{text}" if definition else text
            # the definition is the same in every row, and gives nothing away
            verdict = judged(spec, prompt, outputs[0], own_text=text)
            targets = tuple(dict.fromkeys((verdict.target, *outputs[1:])))
            example = Example(
                f"{task}-{number}", task, prompt, targets, verdict.label, None, verdict.inverted
            )
            return split_of(text, *self._shares), example

        rows = self._bad_rows.parsed(task, enumerate(content["Instances"]), parsed)
        return (example for where, example in rows if where is split)


def closed_labels(outputs: Sequence[Any]) -> tuple[str, ...]:
    """The closed label set that the outputs of a task's instances speak for, sorted; else none.

    They do when each instance has one right answer, of at most 5 words, and at most 20 different
    answers occur, each twice or more and five times on average. Answers that occur once are typing
    errors when they are at most 1% of all; such rows then have no label.

    >>> closed_labels([["yes"], ["no"]] * 5)
    ('no', 'yes')
    >>> closed_labels([["yes"], ["no", "nope"]] * 5)
    ()
    """
    single = [{text.strip() for text in _strings(output)} for output in outputs]
    if not single or any(len(texts) != 1 for texts in single):
        return ()
    counts = Counter(texts.pop() for texts in single)
    labels = sorted(text for text, n in counts.items() if n > 1)
    stray = len(counts) - len(labels)
    closed = (
        2 <= len(labels) <= MAX_LABELS
        and stray <= MAX_STRAY_SHARE * len(outputs)
        and len(outputs) >= 5 * len(labels)
        and all(label and len(label.split()) <= MAX_LABEL_WORDS for label in labels)
    )
    return tuple(labels) if closed else ()


def _instances(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row for row in content["Instances"] if isinstance(row, dict)]


def _strings(value: Any) -> list[str]:
    """A text or a list of texts, as a list."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str)]


def _instance(row: Any, place: str) -> tuple[str, list[str]]:
    """Input and right outputs of an instance."""
    if not isinstance(row, dict):
        raise DataError(f"{place}: expected an object, found {type(row).__name__}")
    for field in ("input", "output"):
        if field not in row:
            raise DataError(
                f"{place}: no field {field!r}; found {', '.join(sorted(row)) or 'none'}"
            )
    text, outputs = row["input"], _strings(row["output"])
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{place}: input must be a non-empty string")
    if not outputs or not all(output.strip() for output in outputs):
        raise DataError(f"{place}: output must hold at least one non-empty string")
    return text, outputs
