"""Raw rows as a stream: from the Hugging Face hub, or from a folder that mirrors it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from taskdepth.errors import DataError
from taskdepth.tasks.flan2021 import FlanTask

FORMATS = {".jsonl": "json", ".parquet": "parquet", ".csv": "csv"}  # of a mirrored split
_COUNTING_BATCH = 1000
# where the hub keeps its own Parquet copy of data sets that are scripts, which `datasets` runs no more
_PARQUET_COPY = "refs/convert/parquet"
_IS_A_SCRIPT = "scripts are no longer supported"


class RawData:
    """The splits of raw data sets, row by row; no split is ever held in memory.

    With `mirror`, the split `train` of the task rte is `<mirror>/rte/train.jsonl` (or .parquet, .csv),
    with the columns that the hub has, and the hub is not asked. Without it, rows are streamed from
    the hub; no code of a data set is run.
    """

    def __init__(self, mirror: Path | None) -> None:
        self._mirror = mirror
        self._counts: dict[tuple[str, str], int] = {}

    def rows(self, task: FlanTask, split: str, wanted: range | None) -> Iterator[tuple[int, Any]]:
        """The `wanted` rows of a split with their numbers; None stands for all.

        Raises:
            DataError: the split cannot be read.
        """
        start = 0 if wanted is None else wanted.start
        with self._told(task, split):
            stream = self._open(task, split)
            if start:
                stream = stream.skip(start)
            if wanted is not None:
                stream = stream.take(len(wanted))
            yield from enumerate(stream, start=start)

    def count(self, task: FlanTask, split: str) -> int:
        """How many rows a split has: what the hub says, else counted by going through it once.

        Raises:
            DataError: the split cannot be read.
        """
        key = (task.spec.name, split)
        if key not in self._counts:
            with self._told(task, split):
                stream = self._open(task, split)
                known = (stream.info.splits or {}).get(split)
                if self._mirror is None and known is not None and known.num_examples:
                    self._counts[key] = int(known.num_examples)
                else:
                    batches = stream.with_format("arrow").iter(batch_size=_COUNTING_BATCH)
                    self._counts[key] = sum(len(batch) for batch in batches)
        return self._counts[key]

    def _open(self, task: FlanTask, split: str) -> Any:
        """A streaming data set of one split."""
        from datasets import load_dataset

        with _quietly():
            if self._mirror is not None:
                return _local(_mirrored(self._mirror / task.spec.name, split))
            hub = task.hub
            if hub is None:
                raise DataError("has no id on the hub")
            try:
                return load_dataset(hub.path, hub.config, split=split, streaming=True)
            except RuntimeError as error:
                if _IS_A_SCRIPT not in str(error):
                    raise
            # by name: left to guess, `datasets` would count GEM's challenge_train_sample as training
            files = {split: f"{hub.config or '*'}/{split}/*.parquet"}
            return load_dataset(
                hub.path, data_files=files, split=split, streaming=True, revision=_PARQUET_COPY
            )

    @contextmanager
    def _told(self, task: FlanTask, split: str) -> Iterator[None]:
        """What goes wrong inside is told in one line, with what to do about it."""
        from datasets.exceptions import DatasetsError

        try:
            yield
        except (OSError, ValueError, RuntimeError, DatasetsError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"
            name = task.spec.name
            if self._mirror is not None:
                raise DataError(f"{self._mirror / name}: cannot read {split}: {reason}") from error
            where = "?" if task.hub is None else task.hub.path
            raise DataError(
                f"task {name}: cannot read {split} of {where} from the Hugging Face hub ({reason}); "
                f"data.path=<folder> reads <folder>/{name}/{split}.jsonl (or .parquet, .csv) instead"
            ) from error


def _mirrored(folder: Path, split: str) -> Path:
    """The one file that holds a split.

    Raises:
        DataError: there is none, or more than one.
    """
    files = [folder / f"{split}{suffix}" for suffix in FORMATS]
    found = [file for file in files if file.is_file()]
    if len(found) != 1:
        names = ", ".join(file.name for file in (found or files))
        problem = "more than one file for a split" if found else "no file for a split"
        raise DataError(f"{folder}: {problem}: {names}")
    return found[0]


def _local(file: Path) -> Any:
    """A streaming data set of one file.

    Raises:
        DataError: the file is empty.
    """
    from datasets import load_dataset

    with TemporaryDirectory() as scratch:  # `datasets` leaves a lock file in its cache
        try:
            return load_dataset(
                FORMATS[file.suffix],
                data_files=escape(str(file.resolve())),  # it would take [ and * for patterns
                split="train",
                streaming=True,
                cache_dir=scratch,
            )
        except StopIteration:  # what `datasets` makes of a file without a first row
            raise DataError(f"{file} holds no rows") from None


@contextmanager
def _quietly() -> Iterator[None]:
    """No progress bars of `datasets`, which come while files are looked up."""
    from datasets.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    were_disabled = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not were_disabled:
            enable_progress_bars()
