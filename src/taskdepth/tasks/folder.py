"""`FolderSource`: your own tasks, one JSONL file each."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from taskdepth.errors import DataError
from taskdepth.tasks.bad_rows import BadRows
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example, Split


class FolderSource:
    """Tasks of a folder: `<task>.jsonl`, and `tasks.tsv` when there is one.

    A line holds `example_id`, `split` (train, validation, test), `prompt`, `targets` (a list; the first
    is trained on), and may hold `label` (a member of the closed label set) and `options`. `tasks.tsv` has
    the columns task, cluster, kind, labels (joined by `|`); without it, the file's stem is the task, its
    cluster is `misc`, and its labels are those that its rows carry.

    Raises:
        DataError: the folder has no tasks, or a line is not what is described here (file:line).
    """

    def __init__(self, path: str | Path, on_error: str = "raise") -> None:
        self._bad_rows = BadRows(on_error)
        self._folder = Path(path)
        if not self._folder.is_dir():
            raise DataError(f"data.path={path} is not a folder")
        self._rows: dict[str, dict[Split, list[Example]]] = {}

    def specs(self) -> Mapping[str, TaskSpec]:
        return self._specs

    def examples(self, task: str, split: Split) -> list[Example]:
        if task not in self._rows:
            self._rows[task] = self._read(task)
        return self._rows[task][split]

    def plain_text(self, split: Split) -> Iterator[str]:
        for task in self._specs:
            for example in self.examples(task, split):
                yield f"{example.prompt}\n{example.target}"

    def skipped(self) -> Mapping[str, tuple[str, ...]]:
        return self._bad_rows.listed()

    @cached_property
    def _specs(self) -> dict[str, TaskSpec]:
        files = sorted(self._folder.glob("*.jsonl"))
        if not files:
            raise DataError(f"{self._folder} holds no .jsonl file")
        described = self._described()
        if missing := sorted(set(described) - {file.stem for file in files}):
            raise DataError(
                f"{self._folder}/tasks.tsv names tasks without a file: {', '.join(missing)}"
            )
        return {file.stem: described.get(file.stem) or self._inferred(file) for file in files}

    def _described(self) -> dict[str, TaskSpec]:
        path = self._folder / "tasks.tsv"
        if not path.exists():
            return {}
        specs = {}
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle, delimiter="\t")
            if missing := {"task", "cluster", "kind", "labels"} - set(reader.fieldnames or ()):
                raise DataError(f"{path}:1: no column {', '.join(sorted(missing))}")
            for number, row in enumerate(reader, start=2):
                try:
                    kind = Kind(row["kind"])
                except ValueError:
                    raise DataError(
                        f"{path}:{number}: kind {row['kind']!r} is not one of {', '.join(Kind)}"
                    ) from None
                labels = tuple(sorted(filter(None, (row["labels"] or "").split("|"))))
                specs[row["task"]] = TaskSpec(row["task"], row["cluster"], kind, labels)
        return specs

    def _inferred(self, file: Path) -> TaskSpec:
        labels = {row["label"] for _, row in _lines(file) if isinstance(row.get("label"), str)}
        kind = Kind.CLASSIFICATION if labels else Kind.GENERATION
        return TaskSpec(file.stem, "misc", kind, tuple(sorted(labels)))

    def _read(self, task: str) -> dict[Split, list[Example]]:
        file = self._folder / f"{task}.jsonl"
        rows: dict[Split, list[Example]] = {split: [] for split in Split}
        seen: set[str] = set()
        for place, row in _lines(file):
            split, example = _parse(self._specs[task], row, place)
            if example.example_id in seen:
                raise DataError(f"{place}: example_id {example.example_id!r} occurs twice")
            seen.add(example.example_id)
            rows[split].append(example)
        return rows


def _lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line's place (`file:line`) and object."""
    try:
        with file.open(encoding="utf-8") as handle:
            for number, line in enumerate(handle, start=1):
                place = f"{file}:{number}"
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(f"{place}: not JSON: {error.msg}") from None
                if not isinstance(row, dict):
                    raise DataError(f"{place}: expected an object, found {type(row).__name__}")
                yield place, row
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 at byte {error.start}") from None


def _parse(spec: TaskSpec, row: dict[str, Any], place: str) -> tuple[Split, Example]:
    for field in ("example_id", "split", "prompt", "targets"):
        if field not in row:
            raise DataError(
                f"{place}: no field {field!r}; found {', '.join(sorted(row)) or 'none'}"
            )
    for field in ("example_id", "prompt"):
        if not isinstance(row[field], str) or not row[field].strip():
            raise DataError(f"{place}: {field} must be a non-empty string")
    try:
        split = Split(row["split"])
    except ValueError:
        raise DataError(
            f"{place}: split {row['split']!r} is not train, validation or test"
        ) from None
    targets = _strings(row["targets"], "targets", place)
    if not targets or not all(target.strip() for target in targets):
        raise DataError(f"{place}: targets must hold at least one non-empty string")
    label = row.get("label")
    if label is not None:
        if not isinstance(label, str):
            raise DataError(f"{place}: label must be a string or null, found {label!r}")
        if spec.labels and label not in spec.labels:
            raise DataError(f"{place}: label {label!r} is not one of {', '.join(spec.labels)}")
    options = _strings(row["options"], "options", place) if row.get("options") is not None else None
    return split, Example(row["example_id"], spec.name, row["prompt"], targets, label, options)


def _strings(value: Any, field: str, place: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{place}: {field} must be a list of strings")
    return tuple(value)
