"""Tuning the upper half of the blocks from cached states: against no cache, and against all blocks."""

from __future__ import annotations

import copy
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskdepth.bench.row import BenchRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskdepth.data.tokenise import TokenisedRow
    from taskdepth.models.prefix_cache import PrefixCache
    from taskdepth.types import LMBatch

SAME_PLACEMENT_GOAL = 1.35  # of at most 1.5: 2 of 2 + 1 passes are left through each pair of blocks
ALL_BLOCKS_GOAL = 1.8  # of at most 2
LOSS_TOLERANCE = 1e-5
BATCH_ROWS = 4  # float32 steps of this size are seconds on a processor


def run(folder: Path, rows: Sequence[TokenisedRow], n_steps: int) -> list[BenchRow]:
    """The model in `folder` on `n_steps` batches of `rows`, one optimizer step a batch and side, in turns.

    Steps are timed with the cache filled; the name says how long filling took, and after how many epochs
    that is paid back.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from taskdepth import layers
    from taskdepth.data.collate import collate
    from taskdepth.data.token_rows import TokenRows
    from taskdepth.models.prefix_cache import PrefixCache

    n = min(len(rows), n_steps * BATCH_ROWS)
    kept = TokenRows(rows[:n])
    groups = [list(range(i, min(i + BATCH_ROWS, n))) for i in range(0, n, BATCH_ROWS)]
    batches = [
        collate([kept[i] for i in group], [0] * len(group), packed=True, numbers=group)
        for group in groups
    ]
    lm = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    middle, n_blocks = layers.n_blocks(lm) // 2, layers.n_blocks(lm)
    with tempfile.TemporaryDirectory() as place:
        cache = PrefixCache(kept, middle, packed=True, limit_bytes=2**32, folder=Path(place))
        sides = [
            _Side(copy.deepcopy(lm), range(middle, n_blocks), cache),
            _Side(copy.deepcopy(lm), range(middle, n_blocks)),
            _Side(lm, range(n_blocks)),
        ]
        fill_s = sides[0].fill()
        for side in sides:
            side.step(batches[0])  # what is made once is not timed
        for side in sides:
            side.forget()
        for batch in batches:
            for side in sides:
                side.step(batch)
    cached, same, every = sides
    return _compared(cached, same, every, fill_s, n_steps=len(batches))


def _compared(
    cached: _Side, same: _Side, every: _Side, fill_s: float, n_steps: int
) -> list[BenchRow]:
    pairs = zip(cached.losses, same.losses, strict=True)
    apart = max(abs(a - b) / b for a, b in pairs)
    epochs = fill_s / max(same.seconds - cached.seconds, 1e-9)
    rate = f"{n_steps / cached.seconds:.2f} : {{:.2f}} steps/s"
    return [
        BenchRow(
            f"upper half from cached states, {rate.format(n_steps / same.seconds)}, "
            f"filled in {fill_s:.1f} s: paid back after {epochs:.1f} epochs",
            "the same placement without the cache",
            ratio=same.seconds / cached.seconds,
            goal=SAME_PLACEMENT_GOAL,
            ours_s=cached.seconds,
            theirs_s=same.seconds,
            agreement=apart,
            agrees=apart <= LOSS_TOLERANCE,
        ),
        BenchRow(
            f"upper half from cached states, {rate.format(n_steps / every.seconds)}",
            "adapters in all blocks",
            ratio=every.seconds / cached.seconds,
            goal=ALL_BLOCKS_GOAL,
            ours_s=cached.seconds,
            theirs_s=every.seconds,
        ),
    ]


class _Side:
    """A model under a new LoRA adapter, its optimizer, and what its steps took."""

    def __init__(self, lm: Any, blocks: Sequence[int], cache: PrefixCache | None = None) -> None:
        import torch
        from peft import LoraConfig

        from taskdepth.models import adapters

        torch.manual_seed(0)
        lora = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear")
        self._lm = adapters.attach(lm, lora, blocks).train()
        learnt = [p for p in self._lm.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(learnt, lr=1e-4)
        self._cache = cache
        self.forget()

    def forget(self) -> None:
        self.seconds = 0.0
        self.losses: list[float] = []

    def fill(self) -> float:
        from taskdepth.models.packing import packed

        start_s = time.perf_counter()
        if self._cache is not None:
            with packed(self._lm):
                self._cache.fill(self._lm)
        return time.perf_counter() - start_s

    def step(self, batch: LMBatch) -> None:
        from contextlib import nullcontext

        import torch

        from taskdepth.models.packing import packed
        from taskdepth.models.targets import score_targets

        start_s = time.perf_counter()
        with (
            packed(self._lm),
            self._cache.reused(self._lm, batch) if self._cache else nullcontext(),
        ):
            loss = score_targets(self._lm, batch).loss.mean()
        torch.autograd.backward(loss)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.losses.append(float(loss.detach()))
        self.seconds += time.perf_counter() - start_s
