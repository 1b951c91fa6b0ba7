from __future__ import annotations

from collections.abc import Sequence

import pytest

from taskdepth.data.tokenise import PromptFormat, Tokeniser
from taskdepth.models.loading import LanguageModel
from taskdepth.probing import targets
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example, Split

Options = Sequence[str] | None


def row(target: str, options: Options = None, label: str | None = None) -> Example:
    return Example("id", "t", "p", (target,), label, None if options is None else tuple(options))


def rows(train: list[Example], held_out: list[Example] | None = None) -> targets.Rows:
    held_out = train if held_out is None else held_out
    return {Split.TRAIN: train, Split.VALIDATION: held_out, Split.TEST: held_out}


@pytest.mark.parametrize(
    ("target", "options", "expected"),
    [
        ("b", "abc", 1),
        ("c", "abc", 2),
        ("b", "ab", None),
        ("z", "abc", None),
        ("b", None, None),
    ],
    ids=["second", "third", "fewer options", "none of them", "no options"],
)
def test_option_is_the_place_of_the_right_answer(
    target: str, options: Options, expected: int | None
) -> None:
    train = [row("a", "abc"), row("b", "bac"), row("a", "ab")]
    found = targets.options(rows(train, [row(target, options)]))
    assert found.names == ("0", "1", "2")
    assert found.of[Split.TRAIN] == (0, 0, None)
    assert found.of[Split.TEST] == (expected,)
    assert found.coverage == (expected is not None)


def test_any_of_the_targets_is_right() -> None:
    example = Example("id", "t", "p", ("A city", "Rome"), None, ("Paris", "Rome"))
    assert targets.options(rows([example])).of[Split.TEST] == (1,)


def test_labels_leave_out_rows_without_one() -> None:
    spec = TaskSpec("t", "c", Kind.CLASSIFICATION, ("no", "yes"))
    found = targets.labels(spec, rows([row("x", label="yes"), row("x"), row("x", label="no")]))
    assert found.of[Split.TRAIN] == (1, None, 0)
    assert found.names == ("no", "yes")


def test_first_tokens_are_the_most_frequent_of_the_training_rows(tiny: LanguageModel) -> None:
    tokenizer = tiny.tokenizer
    tokeniser = Tokeniser(tokenizer, PromptFormat(), 128)
    train = [row(text) for text in ("yes", "no", "yes", "no", "yes", "maybe")]
    found = targets.first_tokens(rows(train, [row("no"), row("dog"), row("maybe")]), tokeniser, 2)
    expected = [
        tokenizer(f" {text}", add_special_tokens=False)["input_ids"][0] for text in ("yes", "no")
    ]
    assert list(found.names) == tokenizer.convert_ids_to_tokens(expected)
    assert found.of[Split.TRAIN] == (0, 1, 0, 1, 0, None)
    assert found.of[Split.TEST] == (1, None, None)
    assert found.coverage == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("train", "held_out", "problem"),
    [
        (["ab", "ba"], ["ab"], None),
        (["ab", "ab"], ["ab"], "fewer than two classes"),
        (["ab", "ba"], ["abc"], "no validation row takes part"),
        (["ab", "ba"], [], "no validation row takes part"),
    ],
)
def test_what_cannot_be_probed_says_why(
    train: list[str], held_out: list[str], problem: str | None
) -> None:
    found = targets.options(
        rows([row("a", offered) for offered in train], [row("a", offered) for offered in held_out])
    )
    assert (found.problem is None) if problem is None else (problem in str(found.problem))
