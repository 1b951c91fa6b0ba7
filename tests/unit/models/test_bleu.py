from __future__ import annotations

import random

import pytest
from sacrebleu.metrics import BLEU
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from taskdepth.models.bleu import corpus_bleu, tokens

PIECES = [
    "cat",
    "Dog",
    "1,000.5",
    "3-4",
    "-",
    "a.b",
    "x.",
    ",",
    "&amp;",
    "&lt;b&gt;",
    "&quot;so&quot;",
]
PIECES += ["it's", "(or)", "a/b", "50%", "$", "ü", "<skipped>", "up-\n", "\n", "end.", "..."]


def texts(seed: int, n: int, most_words: int) -> list[str]:
    rng = random.Random(seed)
    return [
        rng.choice(["", " "]).join(rng.choices(PIECES, k=rng.randint(0, most_words)))
        for _ in range(n)
    ]


def sacrebleu(answers: list[str], references: list[list[str]]) -> float:
    most = max(map(len, references))
    streams = [[r[i] if i < len(r) else None for r in references] for i in range(most)]
    return float(BLEU().corpus_score(answers, streams).score) / 100


def test_tokens_are_those_of_sacrebleu() -> None:
    reference = Tokenizer13a()
    for text in texts(0, 500, 9):
        assert tokens(text) == reference(text.rstrip()).split(), text


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("n", [1, 3, 30])
def test_it_is_that_of_sacrebleu(seed: int, n: int) -> None:
    """Few rows lack n-grams of some order, or matches; references differ in number and length."""
    rng = random.Random(seed)
    references = [texts(rng.random(), rng.randint(1, 4), 12) for _ in range(n)]
    answers = []
    for right in references:
        words = rng.choice(right).split(" ")
        words[rng.randrange(len(words))] = rng.choice(PIECES)
        answers.append(" ".join(words[rng.randint(0, 1) :]))
    assert corpus_bleu(answers, references) == pytest.approx(
        sacrebleu(answers, references), abs=1e-9
    )


@pytest.mark.parametrize(
    ("answer", "references"),
    [
        ("one two three four five", ["one two three x y"]),  # no 4-gram matches
        ("one two three four five", ["one x two y three"]),  # nor any of orders 2 to 4
        ("one two three four", ["five six seven eight"]),  # nothing matches
        ("one two three", ["one two three"]),  # there is no 4-gram
        ("", ["one"]),
        ("one two three four", ["one two three four five six", "one two"]),  # as near: the shorter
        ("one two three four", ["one two", "one two three four five six"]),
    ],
)
def test_the_odd_cases_are_as_in_sacrebleu(answer: str, references: list[str]) -> None:
    expected = sacrebleu([answer], [references])
    assert corpus_bleu([answer], [references]) == pytest.approx(expected, abs=1e-9)
