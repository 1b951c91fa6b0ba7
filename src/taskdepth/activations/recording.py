"""A recording: states go into their folder shard by shard, and go on where they were interrupted."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxtyping import Float
from rich.filesize import decimal
from torch import Tensor

from taskdepth.activations import manifest, shard
from taskdepth.activations.manifest import Manifest
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.shard import ShardRecord
from taskdepth.errors import NO_ROOM, ResultsError
from taskdepth.files import write_json

UNFINISHED = "unfinished.json"
PARTIALS = ".*.partial-*"
STALE_SECONDS = 3600  # no shard takes so long to write: its writer is dead


def row_ranges(n_rows: int, shard_rows: int) -> list[range]:
    """The rows of each shard; no rows are one shard, too.

    >>> row_ranges(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    starts = range(0, max(n_rows, 1), shard_rows)
    return [range(start, min(start + shard_rows, n_rows)) for start in starts]


def clean(folder: Path, shards: Collection[str]) -> None:
    """Leave the manifest and its shards; what says that there is more to do goes last."""
    for pattern in ("shard-*", PARTIALS, UNFINISHED):
        for path in folder.glob(pattern):
            if path.name not in shards:
                path.unlink(missing_ok=True)


class Recording:
    """Write every range of `missing`, then `finish`; in between it may be killed at any moment.

    A shard counts once its record `shard-00000.json` lies beside it. Opening a recording compares every
    recorded shard with its checksum: a damaged one is named in `damaged` and missing again. Ranges are
    fixed by the number of rows, so an interrupted recording ends with the same bytes as any other.
    Several processes may record the same key: who finishes first decides, the others do nothing more.
    """

    damaged: tuple[str, ...]  # a line for each file that was found torn or altered

    def __init__(
        self,
        folder: Path,
        example_ids: Sequence[str],
        about: Mapping[str, Any],
        *,
        depths: Sequence[int] | None,
        dtype: str,
        shard_rows: int,
    ) -> None:
        self._folder = folder
        self._example_ids = tuple(example_ids)
        self._about = about
        self._depths = None if depths is None else tuple(depths)
        self._dtype = dtype
        self._whole: dict[range, ShardRecord] = {}
        self._stamps: dict[range, tuple[int, int]] = {}
        self._ranges = row_ranges(len(self._example_ids), shard_rows)
        folder.mkdir(parents=True, exist_ok=True)
        self.damaged = self._find()

    @property
    def missing(self) -> list[range]:
        """The rows of each shard that is still to be written."""
        if self._is_finished():
            return []
        return [rows for rows in self._ranges if rows not in self._whole]

    def write(
        self, rows: range, states: Mapping[Pooling, Float[Tensor, "n_depths n d_model"]]
    ) -> None:
        """Keep the states of `rows`, one of the ranges in `missing`.

        Raises:
            ResultsError: the disk is full; what was written before stays.
        """
        self._check(rows, states)
        tensors = shard.tensors_of(states, self._dtype)
        number = self._ranges.index(rows)
        with self._in_company(), self._with_room(sum(t.nbytes for t in tensors.values()), rows):
            if self._is_finished():
                return
            record = shard.write(self._folder, number, rows, self._dtype, tensors)
            write_json(self._folder / shard.record_name_of(number), record.content())
            self._keep(rows, record)

    def finish(self) -> None:
        """Write the manifest, and remove what only an interrupted recording needs."""
        if self.missing:
            raise ValueError(f"rows {self.missing[0]} were not written")
        with self._in_company(), self._with_room(0, range(0)):
            if not self._is_finished():
                records = tuple(self._current(rows) for rows in self._ranges)
                shapes = shard.shapes(self._folder / records[0].name)
                n_depths, _, d_model = next(iter(shapes.values()))
                depths = self._depths or tuple(range(n_depths))
                Manifest(
                    about=self._about,
                    poolings=tuple(shapes),
                    depths=depths,
                    d_model=d_model,
                    dtype=self._dtype,
                    example_ids=self._example_ids,
                    shards=records,
                ).write(self._folder)
        clean(self._folder, [shard.name_of(number) for number in range(len(self._ranges))])

    def _check(self, rows: range, states: Mapping[Pooling, Tensor]) -> None:
        if rows not in self._ranges:
            raise ValueError(f"{rows} is no range of this recording")
        for pooling, tensor in states.items():
            if tensor.shape[1] != len(rows):
                raise ValueError(f"{pooling}: {tensor.shape[1]} states for {len(rows)} rows")
            if self._depths is not None and tensor.shape[0] != len(self._depths):
                raise ValueError(f"{pooling}: {tensor.shape[0]} depths of {len(self._depths)}")

    def _find(self) -> tuple[str, ...]:
        """Find the shards that are whole; what is damaged is said, and the folder unfinished again."""
        self._remove_stale()
        kept, damaged = self._manifest()
        names = map(shard.record_name_of, range(len(self._ranges)))
        records = kept.shards if kept else [shard.read_record(self._folder / n) for n in names]
        if kept:
            self._ranges = [record.rows for record in kept.shards]
        for record, rows in zip(records, self._ranges, strict=True):
            if record is None or (record.rows, record.dtype) != (rows, self._dtype):
                continue  # never finished, or of another layout
            if problem := record.problem(self._folder, checksum=True):
                damaged.append(problem)
            else:
                self._keep(rows, record)
        if not kept or damaged:
            self._reopen()
        if damaged:
            (self._folder / manifest.NAME).unlink(missing_ok=True)
        return tuple(damaged)

    def _remove_stale(self) -> None:
        for path in self._folder.glob(PARTIALS):
            with suppress(FileNotFoundError):  # its writer was alive after all, and is done
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()

    def _manifest(self) -> tuple[Manifest | None, list[str]]:
        """The manifest of these very rows, or what is wrong with the one that is there."""
        path = self._folder / manifest.NAME
        try:
            found = Manifest.read(self._folder)
        except FileNotFoundError:
            return None, []
        except ValueError as error:
            return None, [f"{path} is damaged: {error}"]
        if (found.example_ids, found.dtype) != (self._example_ids, self._dtype):
            return None, [f"{path} is about other rows, or another dtype"]
        return found, []

    def _reopen(self) -> None:
        """Say what is being recorded, and what of it is there."""
        with self._with_room(0, range(0)):
            about = {"about": self._about, "n_rows": len(self._example_ids), "dtype": self._dtype}
            write_json(self._folder / UNFINISHED, about)
            for record in self._whole.values():
                write_json(self._folder / shard.record_name_of(record.number), record.content())

    def _keep(self, rows: range, record: ShardRecord) -> None:
        self._whole[rows] = record
        self._stamps[rows] = self._stamp(record)

    def _stamp(self, record: ShardRecord) -> tuple[int, int]:
        found = (self._folder / record.name).stat()
        return found.st_ino, found.st_mtime_ns

    def _current(self, rows: range) -> ShardRecord:
        """The record of what is on disk: another process may have put its own shard there since."""
        record = self._whole[rows]
        if self._stamp(record) == self._stamps[rows]:
            return record
        path = self._folder / record.name
        return replace(record, size_bytes=path.stat().st_size, blake2b=shard.checksum_of(path))

    def _is_finished(self) -> bool:
        return (self._folder / manifest.NAME).is_file()

    @contextmanager
    def _in_company(self) -> Iterator[None]:
        """Another process that finished this key has removed our temporary file, which is fine."""
        try:
            yield
        except FileNotFoundError:
            if not self._is_finished():
                raise

    @contextmanager
    def _with_room(self, size_bytes: int, rows: range) -> Iterator[None]:
        """Turn a full disk into a line that says how much room is missing."""
        try:
            yield
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            n_rows = sum(map(len, self.missing))
            needed = size_bytes * n_rows // max(len(rows), 1)
            free = shutil.disk_usage(self._folder).free
            short = f"at least {decimal(max(needed - free, 1))} more" if needed > free else "some"
            raise ResultsError(
                f"no space left for {self._folder}: its {n_rows} remaining rows need "
                f"{decimal(needed)}, {decimal(free)} are free; make {short} room and run the same "
                "command again: it goes on from here, nothing is lost"
            ) from None
