from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

import pytest

from taskdepth.data.rows import check_not_empty, count, load, pick, usable
from taskdepth.errors import DataError
from taskdepth.tasks.rows import Rows
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example, Split

SPEC = TaskSpec("t", "c", Kind.GENERATION)


class Counted:
    """Nine training rows, every third inverted, and one inverted test row; it counts what is read."""

    def __init__(self) -> None:
        self.n_read = 0

    def specs(self) -> dict[str, TaskSpec]:
        return {"t": SPEC}

    def examples(self, task: str, split: Split) -> Rows:
        return Rows(lambda: self._read(split))

    def _read(self, split: Split) -> Iterator[Example]:
        for i in range({Split.TRAIN: 9, Split.TEST: 1}.get(split, 0)):
            self.n_read += 1
            yield Example(f"t-{i}", "t", f"p{i}", ("y",), inverted=i % 3 == 0)

    def plain_text(self, split: Split) -> list[str]:
        return []

    def skipped(self) -> dict[str, list[str]]:
        return {}


def test_counting_sees_inverted_rows_and_scoring_does_not() -> None:
    assert count(Counted(), SPEC, Split.TRAIN) == 9
    assert [e.example_id for e in load(Counted(), SPEC, Split.TRAIN, 3)] == ["t-1", "t-2", "t-4"]
    assert len(load(Counted(), SPEC, Split.TRAIN)) == 6
    assert [e.example_id for e in usable(Counted().examples("t", Split.TRAIN))][-1] == "t-8"


def test_no_more_is_read_than_needed() -> None:
    source = Counted()
    check_not_empty(source, SPEC, Split.TRAIN)
    assert source.n_read == 1
    load(source, SPEC, Split.TRAIN, 1)
    assert source.n_read == 3
    assert next(pick(source.examples("t", Split.TRAIN), [1])).example_id == "t-1"
    assert source.n_read == 5


@pytest.mark.parametrize("read", [count, check_not_empty, load])
def test_an_empty_split_is_named(read: object) -> None:
    assert callable(read)
    with pytest.raises(DataError, match="task t has no validation rows"):
        read(Counted(), SPEC, Split.VALIDATION)


def test_a_split_of_inverted_rows_cannot_be_probed_yet_trained_on() -> None:
    with pytest.raises(DataError, match="task t has no test rows that can be probed"):
        load(Counted(), SPEC, Split.TEST)
    assert count(Counted(), SPEC, Split.TEST) == 1


@pytest.mark.parametrize("seed", range(5))
def test_picking_is_indexing(seed: int) -> None:
    rng = random.Random(seed)
    rows = list(Counted().examples("t", Split.TRAIN))
    numbers = sorted(rng.choices(range(9), k=rng.choice([0, 1, 6, 20])))
    assert list(pick(rows, numbers)) == [rows[i] for i in numbers]


def test_picking_stops_at_the_last_number() -> None:
    source = Counted()
    assert len(list(islice(pick(source.examples("t", Split.TRAIN), [0, 0, 2]), 99))) == 3
    assert source.n_read == 4
