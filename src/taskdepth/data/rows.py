"""Reading a source row by row: count, choose, leave out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat

from taskdepth.errors import DataError
from taskdepth.tasks.spec import Source, TaskSpec
from taskdepth.types import Example, Split


def count(source: Source, spec: TaskSpec, split: Split) -> int:
    """How many rows a split has, which must not be empty.

    Raises:
        DataError: it is.
    """
    n_rows = sum(1 for _ in source.examples(spec.name, split))
    if not n_rows:
        raise DataError(f"task {spec.name} has no {split.value} rows")
    return n_rows


def check_not_empty(source: Source, spec: TaskSpec, split: Split) -> None:
    """Read one row.

    Raises:
        DataError: there is none.
    """
    if next(iter(source.examples(spec.name, split)), None) is None:
        raise DataError(f"task {spec.name} has no {split.value} rows")


def load(source: Source, spec: TaskSpec, split: Split, limit: int | None = None) -> list[Example]:
    """The first `limit` rows of a split that probing and accuracy may see.

    Raises:
        DataError: there is none.
    """
    return load_and_count(source, spec, split, limit)[0]


def load_and_count(
    source: Source, spec: TaskSpec, split: Split, limit: int | None = None
) -> tuple[list[Example], int]:
    """`load`, and how many rows of inverted templates were passed over on the way.

    Raises:
        DataError: no row is left.
    """
    n_inverted = 0

    def seen() -> Iterator[Example]:
        nonlocal n_inverted
        for example in source.examples(spec.name, split):
            n_inverted += example.inverted
            yield example

    examples = list(islice(usable(seen()), limit))
    if not examples:
        raise DataError(f"task {spec.name} has no {split.value} rows that can be probed")
    return examples, n_inverted


def usable(examples: Iterable[Example]) -> Iterator[Example]:
    """The rows that probing and accuracy may see: those of inverted templates are left out."""
    return (example for example in examples if not example.inverted)


def pick(examples: Iterable[Example], numbers: Sequence[int]) -> Iterator[Example]:
    """The rows of ascending `numbers`, as often as they are named.

    >>> rows = [Example(f"t-{i}", "t", "p", ("y",)) for i in range(4)]
    >>> [row.example_id for row in pick(rows, [1, 1, 3])]
    ['t-1', 't-1', 't-3']
    """
    place = 0
    for number, example in enumerate(examples):
        if place == len(numbers):
            return
        times = 0
        while place < len(numbers) and numbers[place] == number:
            times, place = times + 1, place + 1
        yield from repeat(example, times)
