from __future__ import annotations

import pytest
import torch
import transformers
from torch.nn import functional

from taskdepth.data.collate import collate
from taskdepth.data.tokenise import TokenisedRow
from taskdepth.models.loading import LanguageModel
from taskdepth.models.targets import min_by, only_at, score_targets, sum_by, target_logits
from taskdepth.types import LMBatch

ROWS = [TokenisedRow("a", "t", (5, 6, 7, 8, 9), 3), TokenisedRow("b", "u", (11, 4, 3), 1)]


def batch() -> LMBatch:
    return collate(ROWS, [0, 1])


def test_loss_is_the_masked_cross_entropy_of_the_whole_logits(tiny: LanguageModel) -> None:
    logits, tokens = target_logits(tiny.lm, batch())
    ours = functional.cross_entropy(logits, tokens)
    whole = tiny.lm(
        input_ids=batch().input_ids, attention_mask=(batch().example >= 0).long()
    ).logits
    by_hand = functional.cross_entropy(
        whole[:, :-1].reshape(-1, whole.shape[-1]), batch().labels[:, 1:].reshape(-1)
    )
    assert tokens.tolist() == [8, 9, 4, 3]
    torch.testing.assert_close(ours, by_hand)
    hugging_face = tiny.lm(
        input_ids=batch().input_ids,
        attention_mask=(batch().example >= 0).long(),
        labels=batch().labels,
    ).loss
    torch.testing.assert_close(ours, hugging_face)


def test_what_a_model_does_to_its_logits_still_happens() -> None:
    """Gemma 2 caps its logits after the head: selecting positions must not skip that."""
    torch.manual_seed(0)
    architecture = transformers.Gemma2Config(
        num_hidden_layers=2,
        hidden_size=16,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=32,
        vocab_size=50,
        final_logit_softcapping=0.01,
    )
    lm = transformers.AutoModelForCausalLM.from_config(architecture).eval()
    logits, _ = target_logits(lm, batch())
    whole = lm(input_ids=batch().input_ids, attention_mask=(batch().example >= 0).long()).logits
    torch.testing.assert_close(logits, whole[batch().is_target])
    assert logits.abs().max() <= 0.01


def test_the_head_is_itself_again_afterwards(tiny: LanguageModel) -> None:
    with pytest.raises(RuntimeError, match="stop"), only_at(tiny.lm, batch().is_target):
        raise RuntimeError("stop")
    assert tiny.lm(input_ids=batch().input_ids).logits.shape[:2] == (2, 5)


def test_targets_are_counted_by_example(tiny: LanguageModel) -> None:
    targets = score_targets(tiny.lm, batch())
    assert targets.example.tolist() == [0, 0, 1, 1]
    assert targets.n_tokens.tolist() == [2, 2]
    by_example = targets.by_example(targets.loss)
    torch.testing.assert_close(by_example[0], targets.loss[:2].sum())
    logits, tokens = target_logits(tiny.lm, batch())
    assert targets.is_likeliest.tolist() == (logits.argmax(-1) == tokens).tolist()


def test_sums_and_minima_by_index() -> None:
    index, values = torch.tensor([2, 0, 2]), torch.tensor([1.0, 5.0, -3.0])
    assert sum_by(index, values, 3).tolist() == [5.0, 0.0, -2.0]
    assert min_by(index, values, 3).tolist() == [5.0, float("inf"), -3.0]
