from __future__ import annotations

from typing import Any

import pytest
import torch

from taskdepth.models.generation import generate
from taskdepth.models.loading import LanguageModel
from tiny import tiny_llama


def prompts(n: int = 9) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(1, 290, (1 + i * 5 % 13,), generator=generator).tolist() for i in range(n)
    ]


def alone(tiny: LanguageModel, prompt: list[int], max_new_tokens: int) -> list[int]:
    """Greedy decoding of one prompt, a forward pass over everything for each token."""
    ids = list(prompt)
    for _ in range(max_new_tokens):
        with torch.no_grad():
            ids.append(int(tiny.lm(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == tiny.tokenizer.eos_token_id:
            break
    return ids[len(prompt) :]


def text(tiny: LanguageModel, ids: list[int]) -> str:
    return str(tiny.tokenizer.decode(ids, skip_special_tokens=True)).strip()


def test_answers_are_greedy_decoding_one_prompt_at_a_time(tiny: LanguageModel) -> None:
    found = generate(tiny.lm, tiny.tokenizer, prompts(), max_new_tokens=12)
    assert found == [text(tiny, alone(tiny, prompt, 12)) for prompt in prompts()]
    assert len(set(found)) > 5, "the prompts matter"
    by_hugging_face = [
        tiny.lm.generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            max_new_tokens=12,
            do_sample=False,
            pad_token_id=tiny.tokenizer.eos_token_id,
        )[0, len(prompt) :].tolist()
        for prompt in prompts()
    ]
    assert found == [text(tiny, ids) for ids in by_hugging_face]


@pytest.mark.parametrize("batch_tokens", [1, 20, 60, 10_000])
def test_batches_do_not_matter(
    tiny: LanguageModel, batch_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [text(tiny, alone(tiny, prompt, 5)) for prompt in prompts()]
    sizes: list[tuple[int, int]] = []
    original = tiny.lm.generate

    def sized(input_ids: torch.Tensor, **options: Any) -> Any:
        sizes.append(tuple(input_ids.shape))
        return original(input_ids=input_ids, **options)

    monkeypatch.setattr(tiny.lm, "generate", sized)
    found = generate(
        tiny.lm, tiny.tokenizer, prompts(), max_new_tokens=5, batch_tokens=batch_tokens
    )
    assert found == expected
    assert sum(n for n, _ in sizes) == 9
    for n, longest in sizes:
        assert n == 1 or n * (longest + 5) <= batch_tokens


def end_with(tiny: LanguageModel, token: int) -> None:
    """Make `token` the end token."""
    name = tiny.tokenizer.convert_ids_to_tokens(token)
    tiny.tokenizer.add_special_tokens({"eos_token": name})
    assert tiny.tokenizer.eos_token_id == token


def test_it_stops_at_the_end_token(tiny: LanguageModel) -> None:
    whole = [alone(tiny, prompt, 10) for prompt in prompts()]
    # an answer whose fifth token is none of the first four
    chosen = next(i for i, ids in enumerate(whole) if ids[4] not in ids[:4])
    end_with(tiny, whole[chosen][4])
    (found,) = generate(tiny.lm, tiny.tokenizer, [prompts()[chosen]], max_new_tokens=10)
    assert found == text(tiny, whole[chosen][:4])
    # others of its batch go on, and what follows the end is not told
    together = generate(tiny.lm, tiny.tokenizer, prompts(), max_new_tokens=10)
    assert together == [text(tiny, alone(tiny, prompt, 10)) for prompt in prompts()]
    assert together[chosen] == found
    assert any(len(alone(tiny, prompt, 10)) == 10 for prompt in prompts())


def test_an_answer_that_ends_at_once_is_empty(tiny: LanguageModel) -> None:
    end_with(tiny, alone(tiny, prompts()[3], 1)[0])
    assert generate(tiny.lm, tiny.tokenizer, [prompts()[3]], max_new_tokens=5) == [""]


def test_nothing_to_answer(tiny: LanguageModel) -> None:
    assert generate(tiny.lm, tiny.tokenizer, [], max_new_tokens=5) == []


@pytest.mark.parametrize("training", [False, True])
def test_the_mode_is_as_before_and_dropout_is_off(training: bool) -> None:
    tiny = tiny_llama()
    tiny.lm.config.attention_dropout = 0.5
    for block in tiny.lm.model.layers:
        block.self_attn.attention_dropout = 0.5
    tiny.lm.train(training)
    found = generate(tiny.lm, tiny.tokenizer, prompts(), max_new_tokens=6)
    assert tiny.lm.training is training
    tiny.lm.eval()
    assert found == [text(tiny, alone(tiny, prompt, 6)) for prompt in prompts()]


def test_a_models_own_wish_to_sample_is_not_heeded(tiny: LanguageModel) -> None:
    expected = generate(tiny.lm, tiny.tokenizer, prompts(), max_new_tokens=6)
    tiny.lm.generation_config.do_sample = True
    tiny.lm.generation_config.temperature = 5.0
    tiny.lm.generation_config.top_p = 0.9
    tiny.lm.generation_config.top_k = 7
    assert generate(tiny.lm, tiny.tokenizer, prompts(), max_new_tokens=6) == expected
