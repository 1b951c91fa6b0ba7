from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from taskdepth.activations.plan import Cost, bytes_on_disk, forward_flops, measured_rate, table
from taskdepth.activations.pooling import Pooling
from tiny import tiny_llama


def test_flops_are_those_that_torch_counts() -> None:
    lm = tiny_llama().lm
    lm.set_attn_implementation("eager")  # which multiplies whole squares, where causal needs half
    length = 20
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        lm.base_model(torch.arange(1, length + 1).unsqueeze(0))
    width, n_blocks = lm.config.hidden_size, lm.config.num_hidden_layers
    other_half = 4 * width * n_blocks * (length**2 - length * (length + 1) / 2)
    assert counter.get_total_flops() == forward_flops(lm, [length]) + other_half
    assert forward_flops(lm, [3, 5]) == forward_flops(lm, [3]) + forward_flops(lm, [5])


def test_the_rate_is_positive_whatever_is_pooled() -> None:
    lm = tiny_llama().lm
    assert measured_rate(lm, [[[1, 2, 3]] * 5] * 7, list(Pooling), pack=True) > 0


def test_the_plan_adds_up() -> None:
    costs = [Cost("a", 2, 30, 3e12, 4.0, 5_000_000), Cost("b", 1, 10, 1e12, 200.0, 1_000_000)]
    found = table(costs, 1e9, "kept here")
    cells = list(zip(*(list(column.cells) for column in found.columns), strict=True))
    assert cells[-1] == ("all", "3", "40", "4.0", "3 min", "6.0 MB")
    assert bytes_on_disk(2, 31, 576, 2, torch.float16) == 2 * 31 * 576 * 2 * 2
