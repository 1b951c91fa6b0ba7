"""`BadRows`: what happens to a row that cannot be used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import TypeVar

from taskdepth.errors import ConfigError, DataError

Raw = TypeVar("Raw")
Parsed = TypeVar("Parsed")


class OnError(StrEnum):
    RAISE = "raise"
    SKIP = "skip"


class BadRows:
    """Raises the error of the first row that cannot be used, or skips and lists all of them.

    A row that is read twice is listed once.

    Raises:
        ConfigError: `on_error` is neither `raise` nor `skip`.

    >>> bad = BadRows("skip")
    >>> def whole(text: str) -> int:
    ...     if not text.isdigit():
    ...         raise DataError(f"rows.txt: {text!r} is no number")
    ...     return int(text)
    >>> list(bad.parsed("t", ["1", "x", "3"], whole)), bad.listed()["t"]
    ([1, 3], ("rows.txt: 'x' is no number",))
    """

    def __init__(self, on_error: str = OnError.RAISE) -> None:
        if on_error not in list(OnError):
            raise ConfigError(f"data.on_error={on_error} is neither raise nor skip")
        self._skips = on_error == OnError.SKIP
        self._listed: dict[str, dict[str, None]] = defaultdict(dict)  # a set that keeps its order

    def parsed(
        self, task: str, rows: Iterable[Raw], parse: Callable[[Raw], Parsed]
    ) -> Iterator[Parsed]:
        """`parse` of each row of `task` that can be used.

        Raises:
            DataError: a row cannot be used and `on_error` is `raise`.
        """
        for row in rows:
            try:
                example = parse(row)
            except DataError as error:
                if not self._skips:
                    raise
                self._listed[task][str(error)] = None
            else:
                yield example

    def listed(self) -> Mapping[str, tuple[str, ...]]:
        """Task → one line per skipped row."""
        return {task: tuple(lines) for task, lines in self._listed.items()}
