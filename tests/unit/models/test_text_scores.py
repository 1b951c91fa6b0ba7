from __future__ import annotations

import random
import re
import string
from collections import Counter

import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

from taskdepth.models.text_scores import text_scores

WORDS = ["The", "a", "an", "cat", "cats", "sat", "on", "mat,", "don't", "two-fold", "1,000", "ü"]
WORDS += ["Theatre", "end.", "?", '"so"']


def pairs(seed: int, n: int = 30) -> tuple[list[str], list[list[str]]]:
    """Answers that share some words with one to three references each; some are empty."""
    rng = random.Random(seed)
    answers, references = [], []
    for i in range(n):
        right = [" ".join(rng.choices(WORDS, k=rng.randint(1, 12))) for _ in range(1 + i % 3)]
        words = rng.choice(right).split()
        for _ in range(rng.randint(0, 2)):
            words[rng.randrange(len(words))] = rng.choice(WORDS)
        answers.append("" if i % 10 == 9 else " ".join(words))
        references.append(right)
    return answers, references


def normalised(text: str) -> list[str]:
    """https://rajpurkar.github.io/SQuAD-explorer, evaluate-v1.1: normalize_answer."""
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def f1(answer: str, reference: str) -> float:
    found, right = normalised(answer), normalised(reference)
    n_same = sum((Counter(found) & Counter(right)).values())
    if not found or not right:
        return float(found == right)
    precision, recall = n_same / len(found), n_same / len(right)
    return 2 * precision * recall / (precision + recall) if n_same else 0.0


@pytest.mark.parametrize("seed", range(3))
def test_exact_match_and_f1_are_squads(seed: int) -> None:
    answers, references = pairs(seed)
    found = text_scores(answers, references)
    exact = [
        any(normalised(answer) == normalised(r) for r in right)
        for answer, right in zip(answers, references, strict=True)
    ]
    best = [
        max(f1(answer, r) for r in right) for answer, right in zip(answers, references, strict=True)
    ]
    assert found["exact_match"] == pytest.approx(sum(exact) / len(answers))
    assert found["f1"] == pytest.approx(sum(best) / len(answers))
    assert 0 < found["exact_match"] < found["f1"] < 1


@pytest.mark.parametrize("seed", range(3))
def test_rouge_l_is_that_of_rouge_score(seed: int) -> None:
    answers, references = pairs(seed)
    scorer = RougeScorer(["rougeL"])
    best = [
        scorer.score_multi(right, answer)["rougeL"].fmeasure
        for answer, right in zip(answers, references, strict=True)
    ]
    assert text_scores(answers, references)["rouge_l"] == pytest.approx(sum(best) / len(best))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [1, 30])
def test_bleu_is_that_of_sacrebleu(seed: int, n: int) -> None:
    answers, references = pairs(seed, n)
    most = max(map(len, references))
    streams = [[r[i] if i < len(r) else None for r in references] for i in range(most)]
    expected = BLEU().corpus_score(answers, streams).score / 100
    assert text_scores(answers, references)["bleu"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("answer", "references", "expected"),
    [
        ("The cat.", ["a cat"], {"exact_match": 1, "f1": 1, "rouge_l": 0.5, "bleu": 0}),
        ("cat", ["dog", "cat"], {"exact_match": 1, "f1": 1, "rouge_l": 1, "bleu": 0}),
        ("one two", ["two three"], {"exact_match": 0, "f1": 0.5, "rouge_l": 0.5, "bleu": 0}),
        ("", ["cat"], {"exact_match": 0, "f1": 0, "rouge_l": 0, "bleu": 0}),
        ("...", ["cat"], {"exact_match": 0, "f1": 0, "rouge_l": 0, "bleu": 0}),
        (
            "the cat sat on the mat",
            ["no", "the cat sat on the mat"],
            {"exact_match": 1, "f1": 1, "rouge_l": 1, "bleu": 1},
        ),
    ],
)
def test_by_hand(answer: str, references: list[str], expected: dict[str, float]) -> None:
    assert text_scores([answer], [references]) == pytest.approx(expected, abs=1e-6)


def test_the_order_of_rows_and_of_references_does_not_matter() -> None:
    answers, references = pairs(0)
    found = text_scores(answers, references)
    backwards = text_scores(answers[::-1], [right[::-1] for right in references[::-1]])
    assert backwards == pytest.approx(found)
    assert text_scores([], []) == {}
