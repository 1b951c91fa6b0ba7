"""`Row`: a raw row whose columns are asked for by name and type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from taskdepth.errors import DataError


class Row:
    """A raw row; what is not there or not as expected is a `DataError` that names the column.

    A path of several names leads into nested columns.

    >>> Row({"answers": {"text": ["a", "b"]}, "label": 1}).texts("answers", "text")
    ('a', 'b')
    >>> Row({"sentence": "x"}).text("premise")
    Traceback (most recent call last):
    taskdepth.errors.DataError: no column 'premise'; found sentence
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def at(self, *path: str) -> Any:
        """Whatever is there."""
        value: Any = self._values
        for depth, name in enumerate(path):
            if not isinstance(value, Mapping):
                raise DataError(f"column {_shown(path[:depth])} must hold fields, found {value!r}")
            if name not in value:
                raise DataError(
                    f"no column {_shown(path[: depth + 1])}; found {', '.join(sorted(value))}"
                )
            value = value[name]
        return value

    def text(self, *path: str) -> str:
        """A text that is not blank, without the space around it."""
        value = self.at(*path)
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"column {_shown(path)} must hold text, found {_short(value)}")
        return value.strip()

    def texts(self, *path: str) -> tuple[str, ...]:
        """A list of texts, without those that are blank."""
        value = self.at(*path)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise DataError(
                f"column {_shown(path)} must hold a list of texts, found {_short(value)}"
            )
        return tuple(item.strip() for item in value if item.strip())

    def texts_of(self, columns: Sequence[str]) -> dict[str, str]:
        """Column → text."""
        return {column: self.text(column) for column in columns}

    def number(self, column: str, known: Sequence[int]) -> int:
        """A whole number among `known`, which may be written as text."""
        value = self.at(column)
        try:
            number = int(value)
        except (TypeError, ValueError):
            raise DataError(
                f"column {column!r} must hold a number, found {_short(value)}"
            ) from None
        if number == -1:
            raise DataError(f"column {column!r} is -1: the labels of this split are not public")
        if number not in known:
            shown = ", ".join(map(str, known))
            raise DataError(f"column {column!r} must be one of {shown}, found {_short(value)}")
        return number

    def class_name(self, column: str, classes: Sequence[str]) -> str:
        """The class that the number in `column` stands for."""
        return classes[self.number(column, range(len(classes)))]


def _shown(path: Sequence[str]) -> str:
    return repr(".".join(path))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
