"""`Rows`: a split that is read again whenever it is iterated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from taskdepth.tasks.spec import Source
from taskdepth.types import Example, Split


class Rows(Iterable[Example]):
    """Rows that nobody holds: each iteration calls `read` and goes through what it gives.

    >>> rows = Rows(lambda: iter([Example("a-0", "a", "?", ("yes",))]))
    >>> len(list(rows)), len(list(rows))
    (1, 1)
    """

    def __init__(self, read: Callable[[], Iterator[Example]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[Example]:
        return self._read()


def running_text(source: Source, split: Split) -> Iterator[str]:
    """Prompt and target of every row, task by task: the plain text of a source that has no other."""
    for task in source.specs():
        for example in source.examples(task, split):
            yield f"{example.prompt}\n{example.target}"
