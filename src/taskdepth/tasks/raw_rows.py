"""Files of rows, one row at a time: JSON lines, a JSON list, CSV and Parquet."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from taskdepth.errors import DataError, first_line

_CHUNK_CHARACTERS = 1 << 16
_PARQUET_BATCH_ROWS = 1024
_CSV_CELL_CHARACTERS = 1 << 24  # Python's own limit is shorter than some documents
_SPACES = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as it is on disk, and its place (`file:line`).

    `line` is JSON text still to be read, `problem` why there is nothing to read.
    """

    place: str
    value: Any = None
    line: bytes | str | None = None
    problem: str | None = None

    def fields(self) -> dict[str, Any]:
        """The row as an object.

        Raises:
            DataError: it is not UTF-8, not JSON, or not an object.
        """
        if self.problem is not None:
            raise DataError(f"{self.place}: {self.problem}")
        value = self.value if self.line is None else _decoded(self.line, self.place)
        if not isinstance(value, dict):
            raise DataError(f"{self.place}: expected an object, found {type(value).__name__}")
        return value


# JSON can spell half of a surrogate pair, but no tokenizer and no file takes it
_HALF = re.compile("[\ud800-\udfff]")
_SPELT = re.compile(r"\\u[dD][89a-fA-F]")


def _decoded(line: bytes | str, place: str) -> Any:
    try:
        text = line if isinstance(line, str) else line.decode("utf-8-sig")
        value = json.loads(text)
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8 at byte {error.start} of the line") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, a tower of lists
        raise DataError(f"{place}: not JSON that can be read: {error}") from None
    if _SPELT.search(text) and _HALF.search(json.dumps(value, ensure_ascii=False)):
        raise DataError(f"{place}: half of a surrogate pair is no text")
    return value


def json_lines(file: Path) -> Iterator[RawRow]:
    """One row a line; empty lines are passed over."""
    with file.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            if line.strip():
                yield RawRow(f"{file}:{number}", line=line)


def json_list(file: Path) -> Iterator[RawRow]:
    """The elements of a file that is one JSON list, read a piece at a time.

    Raises:
        DataError: the file is not a list. Past such a place nothing can be read.
    """
    with _utf8(file) as handle:
        text = _Text(file, handle.read)
        if text.first() != "[":
            raise DataError(f"{file}:{text.line}: expected a JSON list, found {text.found()}")
        text.drop(1)
        if text.first() == "]":
            return
        while True:
            text.first()
            place = f"{file}:{text.line}"
            yield RawRow(place, value=text.element())
            separator = text.first()
            if separator not in ("]", ","):
                raise DataError(
                    f"{file}:{text.line}: not JSON: expected , or ], found {text.found()}"
                )
            text.drop(1)
            if separator == "]":
                return


class _Text:
    """The part of a text that is still to be read; grows as needed."""

    def __init__(self, file: Path, read: Callable[[int], str]) -> None:
        self._file = file
        self._read = read
        self._text = ""
        self._start = 0
        self._ended = False
        self._decoder = json.JSONDecoder()
        self.line = 1

    def first(self) -> str:
        """The next character that is no space, without taking it; empty at the end."""
        while True:
            spaces = _SPACES.match(self._text, self._start)
            if spaces is not None:
                self.drop(spaces.end() - self._start)
            if self._start < len(self._text) or not self._grow():
                return self._text[self._start : self._start + 1]

    def found(self) -> str:
        return repr(self.first()) if self.first() else "the end of the file"

    def drop(self, n_characters: int) -> None:
        end = self._start + n_characters
        self.line += self._text.count("\n", self._start, end)
        self._start = end

    def element(self) -> Any:
        """Take the JSON value that starts here.

        Raises:
            DataError: there is none.
        """
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._start)
            except json.JSONDecodeError as error:
                # an error well before the end of what was read cannot be mended by reading on
                cut_off = error.msg.startswith("Unterminated") or error.pos > len(self._text) - 16
                if not (cut_off and self._grow()):
                    line = self.line + self._text.count("\n", self._start, error.pos)
                    raise DataError(f"{self._file}:{line}: not JSON: {error.msg}") from None
            else:
                # a number may go on in the next piece
                if end < len(self._text) or not self._grow():
                    self.drop(end - self._start)
                    return value

    def _grow(self) -> bool:
        """Read on, twice as much each time the same element needs it; False at the end."""
        rest = self._text[self._start :]
        try:
            more = "" if self._ended else self._read(max(_CHUNK_CHARACTERS, len(rest)))
        except UnicodeDecodeError as error:
            raise _not_utf8(self._file, error) from None
        self._ended = not more
        self._text, self._start = rest + more, 0
        return bool(more)


def csv_rows(file: Path) -> Iterator[RawRow]:
    """One row a record, under the names of the first line; an empty cell is None."""
    csv.field_size_limit(max(csv.field_size_limit(), _CSV_CELL_CHARACTERS))
    with _utf8(file, newline="") as handle:
        reader = csv.reader(handle)
        names: list[str] | None = None
        while True:
            place = f"{file}:{reader.line_num + 1}"
            try:
                cells = next(reader, None)
            except UnicodeDecodeError as error:
                raise _not_utf8(file, error) from None
            except csv.Error as error:
                raise DataError(f"{place}: not CSV: {error}") from None
            if cells is None:
                return
            if names is None:
                names = cells
            elif len(cells) == len(names):
                row = {name: cell or None for name, cell in zip(names, cells, strict=True)}
                yield RawRow(place, value=row)
            elif cells:
                yield RawRow(place, problem=f"{len(cells)} cells under {len(names)} columns")


def parquet_rows(file: Path) -> Iterator[RawRow]:
    """One row a record; `file:number` counts rows from 1."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            batches = table.iter_batches(_PARQUET_BATCH_ROWS)
            rows = chain.from_iterable(batch.to_pylist() for batch in batches)
            for number, row in enumerate(rows, start=1):
                yield RawRow(f"{file}:{number}", value=row)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: not Parquet: {first_line(error)}") from None


# how a file is read, by the ending of its name
READERS: Mapping[str, Callable[[Path], Iterator[RawRow]]] = {
    ".jsonl": json_lines,
    ".parquet": parquet_rows,
    ".csv": csv_rows,
}


def _utf8(file: Path, newline: str | None = None) -> Any:
    return file.open(encoding="utf-8-sig", newline=newline)


def _not_utf8(file: Path, error: UnicodeDecodeError) -> DataError:
    return DataError(f"{file}: not UTF-8 at byte {error.start}")
