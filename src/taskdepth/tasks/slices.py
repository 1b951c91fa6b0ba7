"""Parts of a split, written as FLAN and TensorFlow Datasets do: `train[:30000]`, `train[-200:]`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from taskdepth.errors import DataError

_EXPRESSION = re.compile(r"(?P<split>[a-z]\w*)(?:\[(?P<start>-?\d+)?:(?P<stop>-?\d+)?\])?")


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows `start` to `stop` (not included) of `split`, counted from the end when negative."""

    split: str
    start: int | None = None
    stop: int | None = None

    @classmethod
    def parse(cls, expression: str) -> Slice:
        """The rows that `expression` names.

        Raises:
            DataError: `expression` is no split with whole numbers of rows.

        >>> Slice.parse("train[:-200]")
        Slice(split='train', start=None, stop=-200)
        """
        match = _EXPRESSION.fullmatch(expression)
        if match is None:
            raise DataError(f"split {expression!r} is not like train, train[:100] or train[-100:]")
        start, stop = (int(match[x]) if match[x] else None for x in ("start", "stop"))
        return cls(match["split"], start, stop)

    @property
    def needs_count(self) -> bool:
        """Whether its rows depend on how many the split has."""
        return min(self.start or 0, self.stop or 0) < 0

    def rows(self, n_rows: int) -> range:
        """The row numbers in a split of `n_rows` rows, none beyond its ends.

        >>> Slice.parse("train[-200:]").rows(1000)
        range(800, 1000)
        """
        return range(n_rows)[self.start : self.stop]

    def overlaps(self, other: Slice) -> bool:
        """Whether the two share rows in a split of some size."""
        if self.split != other.split:
            return False
        if self.needs_count or other.needs_count:
            return True
        stops = [x.stop for x in (self, other) if x.stop is not None]
        return not stops or max(self.start or 0, other.start or 0) < min(stops)


def without(rows: range, taken: Iterable[range]) -> range:
    """`rows` without those of `taken`: the part in front of them, else the part behind.

    >>> without(range(0, 300), [range(200, 400)]), without(range(0, 300), [range(0, 10)])
    (range(0, 200), range(10, 300))
    """
    for other in taken:
        if not other or other.stop <= rows.start or rows.stop <= other.start:
            continue
        if rows.start < other.start:
            rows = range(rows.start, other.start)
        else:
            rows = range(min(other.stop, rows.stop), rows.stop)
    return rows
