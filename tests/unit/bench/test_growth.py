"""Extraction takes operations, calls and bytes in proportion to rows, depths and tasks, and no more memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch.utils.flop_counter import FlopCounterMode

from taskdepth.bench import growth
from taskdepth.bench.growth import STEPS, Size

pytestmark = pytest.mark.slow

SMALL = Size(n_rows=16, n_blocks=2, d_model=32, prompt_words=8, shard_rows=16)


def cost_of(place: Path, size: Size) -> tuple[int, int, int]:
    """FLOPs of matrix products, forward passes, and bytes on disk."""
    study = growth.prepared(place, size)
    loaded = study._bases.load(study.base_folder(study.models.compared[0]))
    calls = []
    handle = loaded.model.lm.base_model.register_forward_pre_hook(lambda *_: calls.append(1))
    with FlopCounterMode(display=False) as counter:
        assert study.extract() == size.n_rows * size.n_tasks
    handle.remove()
    n_bytes = sum(path.stat().st_size for path in place.glob("states/**/*.safetensors"))
    return counter.get_total_flops(), len(calls), n_bytes


@pytest.mark.parametrize("what", ["n_rows", "n_blocks", "n_tasks"])
def test_linear(what: str, tmp_path: Path) -> None:
    per_unit = []
    for k in STEPS:
        size = replace(SMALL, **{what: k * getattr(SMALL, what)})
        flops, calls, n_bytes = cost_of(tmp_path / str(k), size)
        states = size.n_tasks * size.states_bytes(size.n_rows)
        assert states <= n_bytes < 1.35 * states  # headers are beside the states
        # a deeper model is called as often, and each call goes deeper
        per_unit.append((flops / k, calls if what == "n_blocks" else calls / k))
    for found in per_unit[1:]:
        assert found == pytest.approx(per_unit[0], rel=0.05)


def test_the_peak_of_memory_does_not_grow_with_rows() -> None:
    rows = growth.MEMORY_ROWS
    further = growth.WIDE.states_bytes(3 * rows)
    assert further > 40 * 2**20
    grown = growth.used_bytes(4 * rows) - growth.used_bytes(rows)
    assert grown < growth.FLAT_SHARE * further
