"""What a store holds: each key with its state, its damage, and its removal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from taskdepth.activations import manifest, shard
from taskdepth.activations.manifest import Manifest
from taskdepth.activations.recording import UNFINISHED
from taskdepth.activations.shard import ShardRecord
from taskdepth.errors import ResultsError


class Condition(StrEnum):
    WHOLE = "whole"
    PARTIAL = "partial"  # an extraction goes on with it
    UNREADABLE = "unreadable"  # of another version, or its manifest is damaged


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a store."""

    folder: Path
    condition: Condition
    about: Mapping[str, Any]
    n_rows: int
    dtype: str
    shards: tuple[ShardRecord, ...]
    found: Manifest | None = None  # of a whole one
    problem: str | None = None  # of an unreadable one

    @property
    def key(self) -> str:
        return self.folder.name

    @property
    def n_rows_there(self) -> int:
        return sum(len(record.rows) for record in self.shards)

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def damage(self) -> dict[Path, str]:
        """What is wrong with each damaged file; every file is read and compared with its checksum."""
        damaged = {
            self.folder / record.name: problem
            for record in self.shards
            if (problem := record.problem(self.folder, checksum=True))
        }
        if self.problem is not None:
            damaged[self.folder / manifest.NAME] = self.problem
        return damaged

    def remove(self) -> None:
        """Remove the key; were this interrupted, the rest would count as partial."""
        (self.folder / manifest.NAME).unlink(missing_ok=True)
        shutil.rmtree(self.folder)
        if not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()


def entries(root: Path) -> list[Entry]:
    """Every key under `root`, by name."""
    folders = (path for path in root.glob("??/*") if path.is_dir() and not path.is_symlink())
    return [_entry(path) for path in sorted(folders) if path.name.startswith(path.parent.name)]


def chosen(found: Sequence[Entry], prefixes: Sequence[str], *, unique: bool = False) -> list[Entry]:
    """The entries whose keys begin with one of `prefixes`; all of them when none is given.

    Raises:
        ResultsError: no key begins so; or several do, where each prefix has to be `unique`.
    """
    for prefix in prefixes:
        n_matching = sum(entry.key.startswith(prefix) for entry in found)
        if n_matching == 0:
            raise ResultsError(f"no key begins with {prefix!r}: `ls` shows them all")
        if n_matching > 1 and unique:
            raise ResultsError(f"{n_matching} keys begin with {prefix!r}: give more of it")
    return [e for e in found if not prefixes or e.key.startswith(tuple(prefixes))]


def _entry(folder: Path) -> Entry:
    try:
        found = Manifest.read(folder)
    except FileNotFoundError:
        return _partial(folder)
    except ValueError as error:
        problem = f"{folder / manifest.NAME} cannot be read: {error}"
        return Entry(folder, Condition.UNREADABLE, {}, 0, "", (), problem=problem)
    n_rows = len(found.example_ids)
    return Entry(folder, Condition.WHOLE, found.about, n_rows, found.dtype, found.shards, found)


def _partial(folder: Path) -> Entry:
    found = (shard.read_record(path) for path in sorted(folder.glob("shard-*.json")))
    there = tuple(record for record in found if record is not None)
    try:
        said = json.loads((folder / UNFINISHED).read_text(encoding="utf-8"))
        about, n_rows, dtype = dict(said["about"]), int(said["n_rows"]), str(said["dtype"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        about, n_rows, dtype = {}, 0, ""
    return Entry(folder, Condition.PARTIAL, about, n_rows, dtype, there)
