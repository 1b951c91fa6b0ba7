"""Control adapters from block b on, in a tiny random model: the first region ends exactly at layer b."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from peft import LoraConfig

from taskdepth.activations.extraction import extract
from taskdepth.activations.pooling import Pooling
from taskdepth.models import adapters
from taskdepth.results.table import LayerTable, Row
from taskdepth.selection import detect_regions, layer_signals
from taskdepth.similarity import debiased_cka
from tiny import tiny_llama

pytestmark = pytest.mark.slow

N_BLOCKS, N_TASKS, N_PROMPTS = 8, 5, 24


def states(lm, prompts):
    return extract(lm.eval(), prompts, poolings=[Pooling.LAST_TOKEN])[Pooling.LAST_TOKEN]


def curve(lm, first_block, scale, task):
    """Debiased CKA at depths 0 to L of the model with a control adapter in its blocks from `first_block` on."""
    draw = torch.Generator().manual_seed(task)
    prompts = torch.randint(0, 300, (N_PROMPTS, 7), generator=draw).tolist()
    before = states(lm, prompts)
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")
    wrapped = adapters.attach(lm, lora, range(first_block, N_BLOCKS))
    try:
        with torch.no_grad():
            for name, weight in wrapped.named_parameters():
                if "lora_B" in name:
                    weight.copy_(scale * torch.randn(weight.shape, generator=draw))
        after = states(wrapped, prompts)
    finally:
        adapters.detach(wrapped)
    assert torch.equal(before[: first_block + 1], after[: first_block + 1])
    return [float(debiased_cka(x, y)) for x, y in zip(before, after, strict=True)]


@cache
def table(first_block, scale):
    lm = tiny_llama(N_BLOCKS).lm
    columns = {"kind": "similarity", "name": "debiased_cka", "n": N_PROMPTS, "reference": "control"}
    return LayerTable(
        Row("tiny", "pretrained", f"task_{task}", f"cluster_{task % 2}", depth, value=v, **columns)
        for task in range(N_TASKS)
        for depth, v in enumerate(curve(lm, first_block, scale, task))
    )


@pytest.mark.parametrize("first_block", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("scale", [0.01, 0.3])  # hardly tuned, and tuned beyond recognition
def test_the_first_region_ends_where_control_adapters_begin(first_block, scale):
    signals = layer_signals(table(first_block, scale), n_bootstrap=40)
    assert signals.identical == first_block
    for n_regions in (2, 3, None):
        found = detect_regions(
            signals.values, n_regions, identical=signals.identical, resampled=signals.resampled
        )
        assert found.found
        assert found.boundaries[0] == first_block
        assert found.intervals[0] == (first_block, first_block)


def test_an_experimental_model_tuned_in_all_blocks_does_not_hide_where_control_adapters_begin():
    """The pre-trained model's states are the control models' up to there all the same."""
    experimental = [replace(row, role="experimental", model="joint") for row in table(0, 0.3)]
    signals = layer_signals(table(3, 0.3) + LayerTable(experimental), n_bootstrap=20)
    assert "gain" in signals.names
    assert signals.identical == 3
    for n_regions in (2, 3, None):
        found = detect_regions(
            signals.values, n_regions, identical=signals.identical, resampled=signals.resampled
        )
        assert found.found
        assert found.boundaries[0] == 3


@pytest.mark.parametrize("scale", [1e-4, 0.3])
def test_adapters_in_all_blocks_leave_no_exact_start(scale):
    signals = layer_signals(table(0, scale))
    assert signals.identical == 0
    assert np.ptp(signals.values[0, :2]) > 0
    found = detect_regions(signals.values, 2, resampled=signals.resampled)
    assert not found.found or found.p_value > 1 / 1000
