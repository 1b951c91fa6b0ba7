"""`AlpacaSource`: instruction data as LLaMA-Factory keeps them in its alpaca format."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from taskdepth.errors import DataError
from taskdepth.tasks.bad_rows import BadRows
from taskdepth.tasks.flan2021 import FLAN_TASKS
from taskdepth.tasks.probe_safety import judged_example
from taskdepth.tasks.raw_rows import RawRow, json_lines, json_list
from taskdepth.tasks.rows import Rows, running_text
from taskdepth.tasks.spec import Kind, Specs, TaskSpec
from taskdepth.tasks.splitting import check_shares, split_of
from taskdepth.types import Example, Split

INFO = "dataset_info.json"
# what LLaMA-Factory calls a column, and the field it is by default
# https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
COLUMNS = {"prompt": "instruction", "query": "input", "response": "output"}
COLUMNS |= {"system": "system", "history": "history"}


@dataclass(frozen=True, slots=True)
class _Part:
    """One file of a task; `split` is what its name says, None when rows are to be dealt out."""

    file: Path
    split: Split | None
    columns: Mapping[str, str] = field(default_factory=lambda: COLUMNS)

    @property
    def prefix(self) -> str:
        """What tells the ids of this file's rows from those of the task's other files."""
        return f"{self.split.value}-" if self.split else ""

    def rows(self) -> Iterator[RawRow]:
        return json_lines(self.file) if self.file.suffix == ".jsonl" else json_list(self.file)


class AlpacaSource:
    """A file, or a folder with one task a file: a .json list or .jsonl of instruction, input, output.

    The prompt is the instruction, then the input on a line of its own; `system` and the turns of
    `history` stand before it, and nothing of them is learnt. A `dataset_info.json` in the folder names
    the tasks, their files and columns. A name that ends in _train, _validation or _test says the
    split; all other rows are dealt out by their underlying example: the input, or the instruction
    where there is no input. A task called like one of FLAN 2021 gets its cluster and labels; others
    are free text of the cluster misc (give label sets by `data=folder`).

    Raises:
        DataError: there is no such file, or a row is not what is described here (file:line).
    """

    def __init__(
        self,
        path: str | Path,
        on_error: str = "raise",
        validation: float = 0.1,
        test: float = 0.1,
    ) -> None:
        check_shares(validation, test)
        self._shares = (validation, test)
        self._bad_rows = BadRows(on_error)
        self._path = Path(path)
        if not self._path.exists():
            raise DataError(f"data.path={path} does not exist")

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
        parts, absent = self._found
        return Specs(parts, _spec, absent)

    @cached_property
    def _found(self) -> tuple[dict[str, list[_Part]], dict[str, str]]:
        """Task → its files, and task → why its file is of no use."""
        absent: dict[str, str] = {}
        named: list[tuple[str, Path, Mapping[str, str]]]
        if self._path.is_file():
            named = [(self._path.stem, self._path, COLUMNS)]
        elif (self._path / INFO).is_file():
            named, absent = _described(self._path)
        else:
            files = [file for file in self._path.iterdir() if file.suffix in (".json", ".jsonl")]
            named = [(file.stem, file, COLUMNS) for file in sorted(files)]
        parts: dict[str, list[_Part]] = defaultdict(list)
        for stem, file, columns in named:
            task, split = _task_and_split(stem)
            if any(part.split == split for part in parts[task]):
                raise DataError(f"task {task} is in two files: {parts[task][-1].file} and {file}")
            parts[task].append(_Part(file, split, columns))
        if not parts:
            raise DataError(f"{self._path} holds no .json or .jsonl file of instructions")
        return dict(parts), absent

    def _read(self, task: str, split: Split) -> Iterator[Example]:
        for part in self._found[0][task]:
            if part.split in (None, split):
                parse = partial(self._parsed, task, part)
                rows = self._bad_rows.parsed(task, enumerate(part.rows()), parse)
                yield from (example for where, example in rows if where is split)

    def _parsed(self, task: str, part: _Part, row: tuple[int, RawRow]) -> tuple[Split, Example]:
        number, raw = row
        texts = _texts(raw, part.columns)
        split = part.split or split_of(texts.query or texts.prompt, *self._shares)
        cues = FLAN_TASKS[task].inverted_cues if task in FLAN_TASKS else ()
        example_id = f"{task}-{part.prefix}{number}"
        return split, judged_example(
            self._specs[task], example_id, texts.whole, texts.response, cues
        )


@dataclass(frozen=True, slots=True)
class _Texts:
    prompt: str
    query: str
    response: str
    before: tuple[str, ...]  # system prompt and earlier turns

    @property
    def whole(self) -> str:
        return "\n\n".join([*self.before, "\n".join(filter(None, (self.prompt, self.query)))])


def _texts(raw: RawRow, columns: Mapping[str, str]) -> _Texts:
    row = raw.fields()
    for column in ("prompt", "response"):
        if columns[column] not in row:
            found = ", ".join(sorted(row)) or "none"
            raise DataError(f"{raw.place}: no field {columns[column]!r}; found {found}")
    texts = {
        name: row.get(columns[name]) or "" for name in ("prompt", "query", "response", "system")
    }
    for name, text in texts.items():
        if not isinstance(text, str):
            raise DataError(f"{raw.place}: {columns[name]} must be a string")
    for name, text in (
        (columns["response"], texts["response"]),
        (columns["prompt"], texts["prompt"] + texts["query"]),
    ):
        if not text.strip():
            raise DataError(f"{raw.place}: {name} must be a non-empty string")
    turns = row.get(columns["history"]) or []
    if not isinstance(turns, list) or not all(map(_is_turn, turns)):
        raise DataError(f"{raw.place}: {columns['history']} must be a list of [question, answer]")
    before = [texts["system"], *("\n".join(turn) for turn in turns)]
    return _Texts(texts["prompt"], texts["query"], texts["response"], tuple(filter(None, before)))


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, list) and len(turn) == 2 and all(isinstance(t, str) for t in turn)


def _described(
    folder: Path,
) -> tuple[list[tuple[str, Path, Mapping[str, str]]], dict[str, str]]:
    """Name, file and columns of each usable entry of `dataset_info.json`; the others, and why not."""
    try:
        entries = json.loads((folder / INFO).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{folder / INFO}: not JSON: {error}") from None
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        raise DataError(f"{folder / INFO}: expected an object with one object per task")
    named: list[tuple[str, Path, Mapping[str, str]]] = []
    absent = {}
    for name, entry in entries.items():
        file = folder / str(entry.get("file_name", ""))
        if problem := _problem(entry, file):
            absent[_task_and_split(name)[0]] = f"task {name} of {folder / INFO}: {problem}"
        else:
            named.append((name, file, COLUMNS | entry.get("columns", {})))
    names = {_task_and_split(name)[0] for name, *_ in named}
    return named, {name: reason for name, reason in absent.items() if name not in names}


def _problem(entry: Mapping[str, Any], file: Path) -> str | None:
    """Why an entry of `dataset_info.json` cannot be read here, if it cannot."""
    if (formatting := entry.get("formatting", "alpaca")) != "alpaca":
        return f"formatting {formatting} is not alpaca"
    if not isinstance(entry.get("columns", {}), dict):
        return "its columns are no object"
    if entry.get("ranking"):
        return "it ranks answers"
    if "file_name" not in entry:
        return "it has no file_name"
    if file.suffix not in (".json", ".jsonl"):
        return f"{file.name} is neither .json nor .jsonl"
    return None if file.is_file() else f"there is no file {file}"


def _task_and_split(stem: str) -> tuple[str, Split | None]:
    """`rte_test` is the test split of `rte`; another ending is part of the name."""
    name, _, ending = stem.rpartition("_")
    return (name, Split(ending)) if name and ending in list(Split) else (stem, None)


def _spec(task: str) -> TaskSpec:
    return FLAN_TASKS[task].spec if task in FLAN_TASKS else TaskSpec(task, "misc", Kind.GENERATION)
