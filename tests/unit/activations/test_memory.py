"""States in memory are read as those on disk are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from taskdepth.activations.memory import MemoryStore
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.store import ActivationStore
from taskdepth.errors import ResultsError

IDS = [f"row-{i}" for i in range(5)]
STATES = {
    pooling: torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(seed))
    for seed, pooling in enumerate((Pooling.MEAN, Pooling.LAST_TOKEN))
}


def recorded(store: ActivationStore | MemoryStore, depths: list[int] | None) -> None:
    recording = store.record("ab12", IDS, {}, depths)
    assert recording.missing == [range(2), range(2, 4), range(4, 5)]
    for rows in reversed(recording.missing):
        recording.write(rows, {p: s[:, rows.start : rows.stop] for p, s in STATES.items()})
    recording.finish()


@pytest.mark.parametrize("depths", [None, [1, 4, 7]])
def test_memory_and_disk_hold_the_same(depths: list[int] | None, tmp_path: Path) -> None:
    memory, disk = MemoryStore(shard_rows=2), ActivationStore(tmp_path, shard_rows=2)
    assert "ab12" not in memory
    for store in (memory, disk):
        recorded(store, depths)
        assert "ab12" in store
    held, stored = memory.open("ab12"), disk.open("ab12")
    assert held.example_ids == stored.example_ids
    assert held.depths == stored.depths
    assert held.poolings == stored.poolings
    last = held.depths[-1]
    for asked in ({}, {"depths": [last, 1]}, {"rows": [4, 0]}, {"rows": []}, {"depths": []}):
        for pooling, states in STATES.items():
            found = held.states(pooling, **asked)
            assert torch.equal(found, stored.states(pooling, **asked))
            if not asked:
                assert torch.equal(found, states)
    assert memory.read("ab12").example_ids == tuple(IDS)
    assert torch.equal(memory.read("ab12").states[Pooling.MEAN], STATES[Pooling.MEAN])


def test_what_is_not_there_is_told() -> None:
    store = MemoryStore(shard_rows=2)
    with pytest.raises(ResultsError, match="not in memory"):
        store.open("ab12")
    recording = store.record("ab12", IDS, {})
    recording.write(range(2), {p: s[:, :2] for p, s in STATES.items()})
    assert recording.missing == [range(2, 4), range(4, 5)]
    with pytest.raises(ValueError, match="were not written"):
        recording.finish()
    assert "ab12" not in store
    recorded(store, None)
    with pytest.raises(ResultsError, match="first_target"):
        store.open("ab12").states(Pooling.FIRST_TARGET)
    with pytest.raises(ResultsError, match="depth 9"):
        store.open("ab12").states(Pooling.MEAN, depths=[9])
