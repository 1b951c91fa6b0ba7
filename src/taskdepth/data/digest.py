"""`RowDigest`: a short name for the content of some rows, for records of what a run has read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from taskdepth.types import Example


class RowDigest:
    """Takes in rows as they pass by: the same rows in the same order give the same digest.

    >>> row = Example("rte-0", "rte", "Is it so?", ("yes",), label="yes")
    >>> digest = RowDigest()
    >>> list(digest.passing([row])) == [row]
    True
    >>> digest.hex == RowDigest([row]).hex != RowDigest([row, row]).hex
    True
    """

    def __init__(self, rows: Iterable[Example] = ()) -> None:
        self._hash = hashlib.blake2b(digest_size=8)
        for _ in self.passing(rows):
            pass

    def passing(self, rows: Iterable[Example]) -> Iterator[Example]:
        """The rows unchanged, one by one."""
        for row in rows:
            parts = (row.example_id, row.prompt, *row.targets, row.label or "")
            # each part with its length: ("ab", "c") is another row than ("a", "bc")
            self._hash.update("".join(f"{len(part)}:{part}" for part in parts).encode())
            yield row

    @property
    def hex(self) -> str:
        return self._hash.hexdigest()
