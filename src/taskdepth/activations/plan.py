"""What an extraction will cost, before it starts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table
from torch import nn

from taskdepth import layers
from taskdepth.activations.extraction import extract
from taskdepth.activations.pooling import Pooling

N_SAMPLES = 3
SAMPLE_TOKENS = 2048  # of each


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one model's part: forward passes over `n_tokens`, and what is kept of them on disk."""

    model: str
    n_prompts: int
    n_tokens: int
    flops: float
    seconds: float
    bytes_on_disk: int


def forward_flops(lm: nn.Module, lengths: Sequence[int]) -> float:
    """The multiply-adds (times two) of the blocks over prompts of `lengths` tokens."""
    blocks = layers.find_blocks(lm)
    weights = sum(p.numel() for p in blocks.parameters() if p.ndim == 2)
    d_model = int(lm.config.hidden_size)  # type: ignore[union-attr,arg-type]  # of every model
    return block_flops(weights, len(blocks), d_model, lengths)


def block_flops(n_weights: int, n_blocks: int, d_model: int, lengths: Sequence[int]) -> float:
    """The same of `n_blocks` blocks whose matrices have `n_weights` weights in all.

    Two per weight and token, and 4 · d_model per block for each token that a token looks at, of which causal
    attention needs half.

    >>> block_flops(1000, 1, 10, [2])
    4120.0
    """
    looked_at = sum(length * (length + 1) / 2 for length in lengths)
    return 2 * n_weights * sum(lengths) + 4 * d_model * n_blocks * looked_at


def measured_rate(
    lm: Any,
    units: Sequence[Sequence[Sequence[int]]],
    poolings: Sequence[Pooling],
    *,
    pack: bool,
) -> float:
    """The FLOPs per second of extracting some prompts of a few of `units`, as they are read: unit by unit.

    What prompts share is counted for each and computed once, so the rate may exceed the processor's. The first
    call, which compiles, is left out; of two more the faster counts.
    """
    samples = [_sample(unit) for unit in units[:: max(1, len(units) // N_SAMPLES)]]
    seconds = min(_extract_s(lm, samples, poolings, pack) for _ in range(3))
    return sum(forward_flops(lm, list(map(len, sample))) for sample in samples) / seconds


def _sample(unit: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """The first prompts of a unit, up to a number of tokens."""
    sample: list[Sequence[int]] = []
    for prompt in unit:
        if sum(map(len, sample)) >= SAMPLE_TOKENS:
            break
        sample.append(prompt)
    return sample


def _extract_s(
    lm: Any, samples: Sequence[Sequence[Sequence[int]]], poolings: Sequence[Pooling], pack: bool
) -> float:
    start_s = time.perf_counter()
    for sample in samples:
        extract(lm, sample, poolings=poolings, first_targets=[0] * len(sample), pack=pack)
    return time.perf_counter() - start_s


def bytes_on_disk(
    n_prompts: int, n_depths: int, d_model: int, n_poolings: int, dtype: torch.dtype
) -> int:
    """What the store keeps for `n_prompts`, without its manifest.

    >>> bytes_on_disk(10, 3, 4, 1, torch.float32)
    480
    """
    return n_prompts * n_depths * d_model * n_poolings * dtype.itemsize


def table(costs: Sequence[Cost], rate: float | None, kept: str) -> Table:
    """The plan, a line a model and their sum; `kept` says what becomes of the states."""
    found = Table(title="what is still to be extracted", caption=kept)
    found.add_column("model")
    for column in ("prompts", "tokens", "TFLOPs", "time", "on disk"):
        found.add_column(column, justify="right")
    total = Cost(
        "all",
        sum(cost.n_prompts for cost in costs),
        sum(cost.n_tokens for cost in costs),
        sum(cost.flops for cost in costs),
        sum(cost.seconds for cost in costs),
        sum(cost.bytes_on_disk for cost in costs),
    )
    for cost in (*costs, total):
        if cost is total:
            found.add_section()
        found.add_row(
            cost.model,
            f"{cost.n_prompts:,}",
            f"{cost.n_tokens:,}",
            f"{cost.flops / 1e12:,.1f}",
            _duration(cost.seconds),
            f"{cost.bytes_on_disk / 1e6:,.1f} MB",
        )
    if rate is not None:
        found.caption = f"at {rate / 1e9:,.0f} GFLOP/s, just measured; {kept}"
    return found


def _duration(seconds: float) -> str:
    """
    >>> _duration(42), _duration(3700)
    ('42 s', '1 h 2 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
