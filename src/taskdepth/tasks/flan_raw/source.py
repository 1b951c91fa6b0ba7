"""`FlanRawSource`: FLAN's tasks from raw rows, streamed from the hub or from a local mirror of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from taskdepth.errors import DataError, nearest
from taskdepth.tasks.bad_rows import BadRows
from taskdepth.tasks.flan2021 import FLAN_TASKS
from taskdepth.tasks.flan_raw import (
    closed_book,
    commonsense,
    coreference,
    miscellany,
    nli,
    paraphrase,
    reading,
    reading_commonsense,
    sentiment,
    structure,
    summarization,
    translation,
)
from taskdepth.tasks.flan_raw.loading import RawData
from taskdepth.tasks.flan_raw.row import Row
from taskdepth.tasks.flan_raw.task import RawTask
from taskdepth.tasks.slices import without
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import Example, Split

_CLUSTERS = (
    summarization,
    nli,
    closed_book,
    reading,
    miscellany,
    structure,
    commonsense,
    reading_commonsense,
    coreference,
    paraphrase,
    sentiment,
    translation,
)
# what is measured on keeps its rows where slices of one split overlap
_FIRST_SERVED = (Split.TEST, Split.VALIDATION, Split.TRAIN)


def _by_name() -> Mapping[str, RawTask]:
    """Every raw task by name, in FLAN's order."""
    tasks = {task.name: task for cluster in _CLUSTERS for task in cluster.TASKS}
    if len(tasks) != sum(len(cluster.TASKS) for cluster in _CLUSTERS):
        raise DataError("two raw tasks share a name")
    return MappingProxyType({name: tasks[name] for name in FLAN_TASKS if name in tasks})


RAW_TASKS = _by_name()


class FlanRawSource:
    """FLAN's tasks from the data sets they are made of, with our own templates.

    Rows come from the Hugging Face hub, or from `mirror`: a folder that holds
    `<task>/<split>.jsonl` (or .parquet, .csv) with the hub's columns, where split is the hub's name
    for it. Splits are FLAN's; where its slices of one split overlap, as `train[:30000]` and
    `train[-200:]` do when there are less than 30,200 rows, training gives way to validation, and both
    to test. An example is named `<task>-<split>-<row number>`, or by the id that its row carries, and
    its name decides which template words it. A blank text or a hidden label makes a row unusable.

    Raises:
        DataError: `mirror` is no folder, or holds none of the tasks.
    """

    def __init__(self, mirror: str | Path | None = None, on_error: str = "raise") -> None:
        self._bad_rows = BadRows(on_error)
        self._mirror = None if mirror is None else Path(mirror)
        if self._mirror is not None and not self._mirror.is_dir():
            raise DataError(f"data.path={mirror} is not a folder")
        self._data = RawData(self._mirror)
        self._missing = {
            name: reason for name in FLAN_TASKS if (reason := self._why_missing(name)) is not None
        }
        if len(self._missing) == len(FLAN_TASKS):
            raise DataError(f"{mirror} holds no folder named like a task of FLAN, such as rte")

    def specs(self) -> Mapping[str, TaskSpec]:
        return {name: task.spec for name, task in FLAN_TASKS.items() if name not in self._missing}

    def missing(self) -> Mapping[str, str]:
        """The tasks of FLAN that this source cannot serve, and why."""
        return dict(self._missing)

    def examples(self, task: str, split: Split) -> Iterable[Example]:
        """The rows of one split of one task, read anew each time.

        Raises:
            DataError: the task is unknown or missing, or (while reading) its data set cannot be read.
        """
        if task in self._missing:
            raise DataError(f"task {task}: {self._missing[task]}")
        if task not in RAW_TASKS:
            raise DataError(f"unknown task {task!r}: {nearest(task, list(RAW_TASKS))}")
        return _Examples(partial(self._read, RAW_TASKS[task], split))

    def plain_text(self, split: Split) -> Iterator[str]:
        for task in self.specs():
            for example in self.examples(task, split):
                yield f"{example.prompt}\n{example.target}"

    def skipped(self) -> Mapping[str, tuple[str, ...]]:
        return self._bad_rows.listed()

    def _why_missing(self, name: str) -> str | None:
        hub = FLAN_TASKS[name].hub
        if name not in RAW_TASKS or hub is None:
            return "its raw data set is not on the Hugging Face hub; Muennighoff/flan has it ready-made"
        if self._mirror is not None:
            folder = self._mirror / name
            return None if folder.is_dir() else f"{folder} is no folder"
        if hub.manual:
            splits = sorted({part.split for part in FLAN_TASKS[name].slices.values()})
            return (
                f"{hub.path} is handed out on request only; data.path=<folder> reads it from "
                f"<folder>/{name}/{{{','.join(splits)}}}.jsonl (or .parquet, .csv)"
            )
        return None

    def _read(self, task: RawTask, split: Split) -> Iterator[Example]:
        hub_split, wanted = self._part(task, split)
        rows = self._data.rows(FLAN_TASKS[task.name], hub_split, wanted)
        hub = FLAN_TASKS[task.name].hub
        place = task.name if hub is None or self._mirror is not None else hub.path
        parse = partial(_parsed, task, split, f"{place}:{hub_split}")
        for example in self._bad_rows.parsed(task.name, rows, parse):
            if example is not None:
                yield example

    def _part(self, task: RawTask, split: Split) -> tuple[str, range | None]:
        """The hub's split, and the rows of it that make `split`; None for all of them."""
        flan = FLAN_TASKS[task.name]
        own = flan.slices[split]
        hub_split = task.hub_splits.get(own.split, own.split)
        before = _FIRST_SERVED[: _FIRST_SERVED.index(split)]
        rivals = [flan.slices[other] for other in before if flan.slices[other].overlaps(own)]
        if not rivals and not own.needs_count:
            if own.start is None and own.stop is None:
                return hub_split, None
            if own.stop is not None:
                return hub_split, range(own.start or 0, own.stop)
        n_rows = self._data.count(flan, hub_split)
        return hub_split, without(own.rows(n_rows), [rival.rows(n_rows) for rival in rivals])


@dataclass(frozen=True, slots=True)
class _Examples:
    read: partial[Iterator[Example]]

    def __iter__(self) -> Iterator[Example]:
        return self.read()


def _parsed(task: RawTask, split: Split, place: str, numbered: tuple[int, Any]) -> Example | None:
    number, values = numbered
    row = Row(values)
    own = values.get(task.id_column) if task.id_column else None
    name = f"{split}-{number}" if own is None else str(own)
    try:
        return task.example(f"{task.name}-{name}", row)
    except DataError as error:
        raise DataError(f"{place}:{number}: {error}") from None
