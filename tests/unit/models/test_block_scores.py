"""What a model says of its own blocks, against planted cases and the definitions."""

import numpy as np
import pytest
import torch
from peft import LoraConfig

from taskdepth import layers
from taskdepth.data.collate import collate
from taskdepth.data.tokenise import TokenisedRow
from taskdepth.errors import ModelError
from taskdepth.models import adapters, block_scores
from taskdepth.similarity import linear_cka


def batch(tiny, n_rows=4, n_tokens=9):
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 250, (n_rows, n_tokens), generator=draw).tolist()
    rows = [TokenisedRow(f"t-{i}", "t", tuple(row), n_tokens - 3) for i, row in enumerate(ids)]
    return collate(rows, [0] * n_rows)


def lora():
    return LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "down_proj"])


def test_gradient_norm_is_that_of_the_mean_loss(tiny):
    before = {name: p.detach().clone() for name, p in tiny.lm.named_parameters()}
    one = batch(tiny)
    torch.manual_seed(3)
    scores = block_scores.gradient_norm(tiny.lm, lora(), [one, one])
    assert all(torch.equal(p, before[name]) for name, p in tiny.lm.named_parameters())
    assert not any(p.grad is not None for p in tiny.lm.parameters())
    torch.manual_seed(3)
    wrapped = adapters.attach(tiny.lm, lora(), None).eval()
    labels = one.labels
    logits = wrapped(input_ids=one.input_ids).logits[:, :-1]
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten()).backward()
    expected = [
        np.sqrt(sum(float(p.grad.square().sum()) for p in b.parameters() if p.grad is not None))
        for b in layers.find_blocks(wrapped)
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert min(scores) > 0


def test_a_block_that_changes_nothing_gets_no_gradient(tiny):
    block = layers.find_blocks(tiny.lm)[2]
    with torch.no_grad():
        for name in ("self_attn.o_proj", "mlp.down_proj"):
            block.get_submodule(name).weight.zero_()
    lora_q = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"])
    scores = block_scores.gradient_norm(tiny.lm, lora_q, [batch(tiny)])
    assert scores[2] == 0
    assert (np.delete(scores, 2) > 0).all()


def test_no_rows_no_gradient(tiny):
    with pytest.raises(ModelError, match="needs training rows"):
        block_scores.gradient_norm(tiny.lm, lora(), [])


def test_adjacent_cka_is_that_of_hidden_states(tiny):
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 250, (12, 6), generator=draw)
    with torch.no_grad():
        states = tiny.lm(input_ids=ids, output_hidden_states=True).hidden_states
    scores = block_scores.adjacent_cka(tiny.lm, ids.tolist())
    expected = [1 - float(linear_cka(states[d][:, -1], states[d + 1][:, -1])) for d in range(3)]
    np.testing.assert_allclose(
        scores[:3], expected, atol=1e-5
    )  # the last depth is after the norm there
    same_end = torch.cat([ids, torch.full((12, 1), 7)], dim=1)
    assert np.isnan(block_scores.adjacent_cka(tiny.lm, same_end.tolist())[0])


def test_adjacent_cka_of_a_block_that_changes_nothing_is_0(tiny):
    block = layers.find_blocks(tiny.lm)[1]
    with torch.no_grad():
        for name in ("self_attn.o_proj", "mlp.down_proj"):
            block.get_submodule(name).weight.zero_()
    ids = torch.randint(0, 250, (12, 6), generator=torch.Generator().manual_seed(1)).tolist()
    scores = block_scores.adjacent_cka(tiny.lm, ids)
    assert scores[1] == pytest.approx(0, abs=1e-6)
    assert scores[2] > 1e-3


def test_weight_snr_is_high_where_more_directions_stand_out(tiny):
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for number, block in enumerate(layers.find_blocks(tiny.lm)):
            for weight in block.parameters():
                if weight.ndim == 2:
                    noise = torch.randn(weight.shape, generator=draw)
                    u, values, v = torch.linalg.svd(noise, full_matrices=False)
                    values[: 3 if number == 2 else 1] = 60.0
                    weight.copy_(u * values @ v)
    scores = block_scores.weight_snr(tiny.lm)
    assert scores[2] > 1.5 * np.delete(scores, 2).max()
    assert scores.mean() == pytest.approx(1)


@pytest.mark.parametrize("factor", [1e-3, 50.0])
def test_the_ratio_of_signal_to_noise_has_no_unit_but_the_largest_singular_value(factor):
    weight = torch.randn(40, 60, generator=torch.Generator().manual_seed(0))
    assert block_scores._snr(factor * weight) * factor == pytest.approx(
        block_scores._snr(weight), rel=1e-4
    )
    values = np.linalg.svd(weight.numpy(), compute_uv=False)
    low, high = np.percentile(values, [25, 75])
    edge = (high - low) / 1.349 * (1 + np.sqrt(40 / 60))
    expected = values[values > edge].sum() / values[values <= edge].sum() / values[0]
    assert block_scores._snr(weight) == pytest.approx(expected, rel=1e-4)
