from __future__ import annotations

import pytest

from fuzz_readers import Outcome, fuzz, readers


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return fuzz(2100, seed=7)


def test_damaged_files_are_refused_in_one_line_or_read_soundly(outcome: Outcome) -> None:
    assert [f"{fault.reader}: {fault.data!r}\n{fault.error}" for fault in outcome.faults] == []


def test_every_reader_has_refused_some_and_read_some(outcome: Outcome, tmp_path: object) -> None:
    for name in ("controls", "depth_maps", "layers", "manifest", "rows", "selection", "task_maps"):
        assert outcome.refused[name] > 50, name
        assert outcome.accepted[name] > 2, name


def test_the_readers_are_those_that_are_counted(tmp_path_factory: pytest.TempPathFactory) -> None:
    assert len(readers(tmp_path_factory.mktemp("made"))) == 7
