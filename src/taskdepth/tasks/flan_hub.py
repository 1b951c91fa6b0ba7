"""`FlanHubSource`: FLAN 2021 as the hub data set `Muennighoff/flan` has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from taskdepth.errors import DataError, first_line
from taskdepth.tasks.bad_rows import BadRows
from taskdepth.tasks.flan2021 import FLAN_TASKS
from taskdepth.tasks.probe_safety import judged_example
from taskdepth.tasks.raw_rows import RawRow, json_lines
from taskdepth.tasks.rows import Rows, running_text
from taskdepth.tasks.spec import Specs, TaskSpec
from taskdepth.types import Example, Split

HUB = "hf://datasets/Muennighoff/flan"
LAYOUT = "{train,validation,test}/<task>_10templates_<split>.jsonl"


class FlanHubSource:
    """66 tasks, 10 templates each, in the hub's own splits; newsroom, winogrande and xsum are not there.

    A line holds `inputs`, `targets` (one text) and `task`. Without `mirror` the rows are streamed from
    the hub; `mirror` is a folder with files of the same names, or some of them, as the hub has:
    `{train,validation,test}/<task>_10templates_<split>.jsonl`.

    Labels, options and `inverted` are those of `probe_safety`.

    Raises:
        DataError: the mirror is no such folder, the hub cannot be reached, or a line is not what is
            described here (file:line).
    """

    def __init__(self, mirror: str | Path | None = None, on_error: str = "raise") -> None:
        self._bad_rows = BadRows(on_error)
        self._mirror = None if mirror is None else Path(mirror)
        if self._mirror is not None and not self._mirror.is_dir():
            raise DataError(f"data.path={mirror} is not a folder")

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
        absent = {
            name: f"task {name} is not in Muennighoff/flan: take it from its own data set, or leave it out"
            for name, task in FLAN_TASKS.items()
            if not task.in_hub_mirror
        }
        names = [name for name in FLAN_TASKS if name not in absent]
        if self._mirror is not None:
            there = [name for name in names if any(map(self._has, _files(name)))]
            if not there:
                raise DataError(f"{self._mirror} holds no {LAYOUT}")
            absent |= {
                name: f"task {name} is not in {self._mirror}: no file {_file(name, Split.TRAIN)}"
                for name in names
                if name not in there
            }
            names = there
        return Specs(names, lambda name: FLAN_TASKS[name].spec, absent)

    def _has(self, file: str) -> bool:
        return self._mirror is not None and (self._mirror / file).is_file()

    def _read(self, task: str, split: Split) -> Iterator[Example]:
        numbered = enumerate(self._lines(_file(task, split)))

        def parsed(row: tuple[int, RawRow]) -> Example:
            number, raw = row
            return _parsed(task, f"{task}-{split.value}-{number}", raw)

        return self._bad_rows.parsed(task, numbered, parsed)

    def _lines(self, file: str) -> Iterable[RawRow]:
        if self._mirror is None:
            return hub_lines(f"{HUB}/{file}")
        # a split that the mirror does not have is an empty one
        return json_lines(self._mirror / file) if self._has(file) else ()


def hub_lines(url: str) -> Iterator[RawRow]:
    """The lines of a JSONL file on the hub, streamed by `datasets`.

    Read as text: its JSON reader takes a column of "2009-01-01" for dates and writes them anew.

    Raises:
        DataError: the file cannot be had.
    """
    import datasets
    from huggingface_hub.errors import HfHubHTTPError

    # whichever HTTP library the hub client uses, its errors are one of these
    unreachable = tuple(kind for kind in HfHubHTTPError.__bases__ if issubclass(kind, Exception))
    expected: tuple[type[Exception], ...] = (OSError, ValueError, *unreachable)
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        rows = datasets.load_dataset("text", data_files=url, split="train", streaming=True)
        for number, row in enumerate(rows, start=1):
            if row["text"].strip():
                yield RawRow(f"{url}:{number}", line=row["text"])
    except expected as error:
        raise DataError(
            f"{url} cannot be read ({first_line(error)}): without a network give data.path=<folder> "
            f"with {LAYOUT}"
        ) from None


def _file(task: str, split: Split) -> str:
    return f"{split.value}/{task}_10templates_{split.value}.jsonl"


def _files(task: str) -> list[str]:
    return [_file(task, split) for split in Split]


def _parsed(task: str, example_id: str, raw: RawRow) -> Example:
    row = raw.fields()
    for field in ("inputs", "targets"):
        if field not in row:
            raise DataError(f"{raw.place}: no field {field!r}; found {', '.join(sorted(row))}")
        if not isinstance(row[field], str) or not row[field].strip():
            raise DataError(f"{raw.place}: {field} must be a non-empty string")
    entry = FLAN_TASKS[task]
    return judged_example(
        entry.spec, example_id, row["inputs"], row["targets"], entry.inverted_cues
    )
