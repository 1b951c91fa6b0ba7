from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from taskdepth.data.tokenise import ENCODED_TOGETHER_ROWS, PromptFormat, Tokeniser
from taskdepth.errors import DataError
from taskdepth.models.loading import LanguageModel
from taskdepth.types import Example
from tiny import tiny_llama


def example(prompt: str, target: str = "good") -> Example:
    return Example("t-0", "t", prompt, (target,))


def tokeniser(tiny: LanguageModel, max_length: int | None = None, window: int = 128) -> Tokeniser:
    return Tokeniser(tiny.tokenizer, PromptFormat(), window, max_length)


def test_prompt_target_and_end_token_are_literal(tiny: LanguageModel) -> None:
    row = tokeniser(tiny).row(example("The film was"))
    assert row is not None
    text = tiny.tokenizer.decode(row.input_ids)
    assert text == "The film was\nAnswer: good<|end|>"
    assert tiny.tokenizer.decode(row.input_ids[row.n_prompt_tokens :]) == " good<|end|>"
    assert row.n_cut_tokens == 0


def test_the_prompt_alone_is_the_beginning_of_the_row(tiny: LanguageModel) -> None:
    encode = tokeniser(tiny)
    row = encode.row(example("A dog runs"))
    prompt = encode.prompt(example("A dog runs"))
    assert row is not None
    assert row.input_ids[: row.n_prompt_tokens] == prompt.input_ids


@pytest.mark.parametrize("limit", [16, 20, 30])
def test_truncation_cuts_the_prompt_alone(tiny: LanguageModel, limit: int) -> None:
    whole = tokeniser(tiny).row(example("word " * 15))
    cut = tokeniser(tiny, limit).row(example("word " * 15))
    assert whole is not None
    assert cut is not None
    assert cut.n_tokens == limit
    assert cut.n_cut_tokens == whole.n_tokens - limit
    text = tiny.tokenizer.decode(cut.input_ids)
    assert text.endswith("\nAnswer: good<|end|>")
    assert cut.input_ids == whole.input_ids[-limit:]


def test_a_target_that_does_not_fit_drops_the_row(tiny: LanguageModel) -> None:
    assert tokeniser(tiny, 16).row(example("word", "very " * 20)) is None


def test_a_row_beyond_the_window_is_an_error_that_says_what_to_do(tiny: LanguageModel) -> None:
    with pytest.raises(
        DataError, match=r"t-0: \d+ tokens do not fit the model's window of 32; data\.max"
    ):
        tokeniser(tiny, window=32).row(example("word " * 60))
    with pytest.raises(DataError, match="t-0"):
        tokeniser(tiny, window=32).prompt(example("word " * 60))
    with pytest.raises(DataError, match="beyond the model's window"):
        tokeniser(tiny, max_length=64, window=32)


def test_running_text_is_cut_into_full_rows(tiny: LanguageModel) -> None:
    rows = tokeniser(tiny).running(["A dog runs.", "A cat sleeps."] * 5, 10)
    assert all(row.n_tokens == 10 for row in rows[:-1])
    joined = tiny.tokenizer.decode([t for row in rows for t in row.input_ids])
    assert joined == "A dog runs.<|end|>A cat sleeps.<|end|>" * 5


def test_a_tokenizers_own_start_token_is_kept_once() -> None:
    from tokenizers.processors import TemplateProcessing

    tiny = tiny_llama()
    tokenizer = tiny.tokenizer
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    bos = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A <|end|>", special_tokens=[("<s>", bos), ("<|end|>", tokenizer.eos_token_id)]
    )
    row = Tokeniser(tokenizer, PromptFormat(), 128).row(example("A dog"))
    assert row is not None
    assert row.input_ids[0] == bos
    assert row.input_ids.count(bos) == 1
    assert row.input_ids.count(tokenizer.eos_token_id) == 1
    cut = Tokeniser(tokenizer, PromptFormat(), 128, 14).row(example("dog " * 40))
    assert cut is not None
    assert cut.input_ids[0] == bos


def many(n: int) -> list[Example]:
    """Prompts of 1 to 9 words, and some targets too long for 24 tokens."""
    rng = random.Random(0)
    words = ["film", "dog", "the", "ä", "true", "\n", "  house"]
    found = []
    for i in range(n):
        prompt = " ".join(rng.choices(words, k=rng.randint(1, 9)))
        found.append(Example(f"t-{i}", "t", prompt, ("good " * (30 if i % 50 == 7 else 1), "bad")))
    return found


def test_many_rows_are_the_rows_one_by_one() -> None:
    encode = tokeniser(tiny_llama(), max_length=24)
    examples = many(ENCODED_TOGETHER_ROWS + 89)
    found = list(encode.rows(iter(examples)))
    assert found == [encode.row(example) for example in examples]
    assert [i for i, row in enumerate(found) if row is None] == [*range(7, len(found), 50)]
    assert any(row is not None and row.n_cut_tokens for row in found)
    assert list(encode.rows([])) == []


def test_rows_are_asked_for_as_they_are_needed(tiny: LanguageModel) -> None:
    n_read = 0

    def endless() -> Iterator[Example]:
        nonlocal n_read
        while True:
            n_read += 1
            yield example("A dog")

    assert next(tokeniser(tiny).rows(endless())) is not None
    assert n_read == ENCODED_TOGETHER_ROWS


def test_one_long_row_among_many_is_named(tiny: LanguageModel) -> None:
    long = Example("t-long", "t", "word " * 99, ("good",))
    with pytest.raises(DataError, match=r"t-long: \d+ tokens do not fit"):
        list(tokeniser(tiny).rows([*many(5), long]))


def test_a_template_around_the_prompt_is_literal_and_survives_a_cut(tiny: LanguageModel) -> None:
    dressed = PromptFormat("<u> {prompt} </u>", " = ")
    assert (dressed.before, dressed.after) == ("<u> ", " </u>")
    whole = Tokeniser(tiny.tokenizer, dressed, 128).row(example("A dog runs"))
    assert whole is not None
    assert tiny.tokenizer.decode(whole.input_ids) == "<u> A dog runs </u> = good<|end|>"
    long = example("dog " * 40 + "LAST")
    cut = Tokeniser(tiny.tokenizer, dressed, 128, 30).row(long)
    assert cut is not None
    text = tiny.tokenizer.decode(cut.input_ids)
    assert text.startswith("<u> ")
    assert text.endswith("LAST </u> = good<|end|>")
    assert cut.n_tokens == 30
