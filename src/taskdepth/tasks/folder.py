"""`FolderSource`: your own tasks, one JSONL, Parquet or CSV file each."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from taskdepth.errors import DataError, nearest
from taskdepth.tasks.bad_rows import BadRows
from taskdepth.tasks.raw_rows import READERS, RawRow
from taskdepth.tasks.rows import Rows, running_text
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example, Split


class FolderSource:
    """Tasks of a folder: `<task>.jsonl`, `.parquet` or `.csv`, and `tasks.tsv` when there is one.

    A row holds `example_id`, `split` (train, validation, test), `prompt`, `targets` (a list; the first
    is trained on), and may hold `label` (a member of the closed label set), `options`, and `inverted`
    (true: no probe may see the row). In CSV, `targets` and `options` are JSON lists, or one plain text.
    `tasks.tsv` has the columns task, cluster, kind, labels (joined by `|`); without it, the file's stem
    is the task, its cluster is `misc`, and its labels are those that its rows carry.

    Files are read again for each pass; only the ids of a file stay in memory meanwhile.

    Raises:
        DataError: the folder has no tasks, or a row is not what is described here (file:line).
    """

    def __init__(self, path: str | Path, on_error: str = "raise") -> None:
        self._bad_rows = BadRows(on_error)
        self._folder = Path(path)
        if not self._folder.is_dir():
            raise DataError(f"data.path={path} is not a folder")

    def specs(self) -> Mapping[str, TaskSpec]:
        return self._specs

    def examples(self, task: str, split: Split) -> Rows:
        if task not in self._specs:
            raise DataError(f"unknown task {task!r}: {nearest(task, list(self._specs))}")
        return Rows(lambda: self._read(task, split))

    def plain_text(self, split: Split) -> Iterator[str]:
        return running_text(self, split)

    def skipped(self) -> Mapping[str, tuple[str, ...]]:
        return self._bad_rows.listed()

    @cached_property
    def _files(self) -> dict[str, Path]:
        files: dict[str, Path] = {}
        for file in sorted(self._folder.iterdir()):
            if file.suffix not in READERS:
                continue
            if file.stem in files:
                raise DataError(f"task {file.stem} is in two files: {files[file.stem]} and {file}")
            files[file.stem] = file
        if not files:
            raise DataError(f"{self._folder} holds no .jsonl, .parquet or .csv file")
        return files

    @cached_property
    def _specs(self) -> dict[str, TaskSpec]:
        described = _described(self._folder / "tasks.tsv")
        if missing := sorted(set(described) - set(self._files)):
            raise DataError(
                f"{self._folder}/tasks.tsv names tasks without a file: {', '.join(missing)}"
            )
        return {task: described.get(task) or self._inferred(task) for task in self._files}

    def _raw_rows(self, task: str) -> Iterator[RawRow]:
        file = self._files[task]
        return READERS[file.suffix](file)

    def _inferred(self, task: str) -> TaskSpec:
        rows = self._bad_rows.parsed(task, self._raw_rows(task), RawRow.fields)
        labels = {row["label"] for row in rows if isinstance(row.get("label"), str)}
        kind = Kind.CLASSIFICATION if labels else Kind.GENERATION
        return TaskSpec(task, "misc", kind, tuple(sorted(labels)))

    def _read(self, task: str, split: Split) -> Iterator[Example]:
        spec = self._specs[task]
        of_text = self._files[task].suffix == ".csv"
        seen: set[str] = set()

        def parsed(raw: RawRow) -> tuple[Split, Example]:
            fields = raw.fields()
            if of_text:
                fields = _from_text(fields)
            where, example = _parse(spec, fields, raw.place)
            if example.example_id in seen:
                raise DataError(f"{raw.place}: example_id {example.example_id!r} occurs twice")
            seen.add(example.example_id)
            return where, example

        rows = self._bad_rows.parsed(task, self._raw_rows(task), parsed)
        return (example for where, example in rows if where is split)


def _described(path: Path) -> dict[str, TaskSpec]:
    """The tasks of `tasks.tsv`, none when there is no such file."""
    if not path.exists():
        return {}
    specs: dict[str, TaskSpec] = {}
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle, delimiter="\t")
            if missing := {"task", "cluster", "kind", "labels"} - set(reader.fieldnames or ()):
                raise DataError(f"{path}:1: no column {', '.join(sorted(missing))}")
            for number, row in enumerate(reader, start=2):
                spec = _spec(row, f"{path}:{number}")
                if (before := specs.get(spec.name)) is not None:
                    clusters = " and ".join(dict.fromkeys((before.cluster, spec.cluster)))
                    raise DataError(
                        f"{path}:{number}: task {spec.name} is named twice, in cluster {clusters}"
                    )
                specs[spec.name] = spec
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}") from None
    return specs


def _spec(row: Mapping[str, str | None], place: str) -> TaskSpec:
    task, cluster = row["task"], row["cluster"]
    if not task or not cluster:
        raise DataError(f"{place}: task and cluster must not be empty")
    try:
        kind = Kind(row["kind"] or "")
    except ValueError:
        raise DataError(f"{place}: kind {row['kind']!r} is not one of {', '.join(Kind)}") from None
    return TaskSpec(
        task, cluster, kind, tuple(sorted(filter(None, (row["labels"] or "").split("|"))))
    )


def _from_text(fields: dict[str, Any]) -> dict[str, Any]:
    """A CSV row with its lists and truth values read."""
    lists = {name: _list(fields[name]) for name in ("targets", "options") if fields.get(name)}
    inverted = fields.get("inverted")
    truth = {"true": True, "1": True, "false": False, "0": False}
    known = {"inverted": truth.get(inverted.lower(), inverted)} if inverted else {}
    return fields | lists | known


def _list(cell: str) -> Any:
    """The JSON list in a cell, or the cell's text as the only item."""
    if cell.lstrip().startswith("["):
        try:
            return json.loads(cell)
        except json.JSONDecodeError:
            pass  # a text that happens to begin with a bracket
    return [cell]


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
    inverted = row.get("inverted") or False
    if not isinstance(inverted, bool):
        raise DataError(f"{place}: inverted must be true or false, found {inverted!r}")
    example_id, prompt = row["example_id"], row["prompt"]
    return split, Example(example_id, spec.name, prompt, targets, label, options, inverted)


def _strings(value: Any, field: str, place: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{place}: {field} must be a list of strings")
    return tuple(value)
