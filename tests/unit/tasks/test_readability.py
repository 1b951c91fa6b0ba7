"""Readability against the numbers of textstat 0.7.8, whose syllables come from the CMU dictionary."""

import math

import pytest

from taskdepth.tasks.readability import TextCounts, coleman_liau, flesch_kincaid, readability

NLI = (
    "Premise: At my age you will probably have learnt one lesson.\nHypothesis: It's not certain how "
    "many lessons you'll learn by your thirties.\nDoes the premise entail the hypothesis?"
)
# text, (letters, syllables, words, sentences), Flesch-Kincaid, Coleman-Liau: all textstat's
TEXTSTAT = [
    (
        "The cat sat on the mat. It was happy because the weather was delightful.",
        (57, 19, 14, 2),
        3.1542857142857166,
        3.5857142857142854,
    ),
    (NLI, (142, 45, 29, 3), 6.490344827586206, 9.537931034482757),
    (
        "Is the following sentence grammatical? 'Sally opened the door.' yes or no",
        (58, 20, 12, 3),
        5.636666666666667,
        4.833333333333336,
    ),
    ("question", (8, 2, 1, 1), 8.400000000000002, 1.000000000000007),
]


@pytest.mark.parametrize(("text", "counted", "grade", "index"), TEXTSTAT)
def test_equals_textstat(
    text: str, counted: tuple[int, int, int, int], grade: float, index: float
) -> None:
    counts = TextCounts.of(text)
    assert counts == TextCounts(*counted)
    assert flesch_kincaid(counts) == pytest.approx(grade)
    assert coleman_liau(counts) == pytest.approx(index)


@pytest.mark.parametrize(
    ("text", "syllables", "letters", "sentences"),
    [
        (  # textstat: 22 syllables
            "Don't! She hasn't finished; the committee's representatives -- all 12 of them -- disagree...",
            22,
            67,
            1,
        ),
        (  # textstat: 36 syllables
            "Summarise: Congress approved considerable additional expenditure (approximately $4.5 "
            "billion) for environmental protection.",
            36,
            106,
            2,
        ),
    ],
)
def test_syllables_by_rule_are_near_those_of_the_dictionary(
    text: str, syllables: int, letters: int, sentences: int
) -> None:
    counts = TextCounts.of(text)
    assert (counts.letters, counts.sentences) == (letters, sentences)
    assert counts.syllables == pytest.approx(syllables, rel=0.05)


def test_the_mean_leaves_out_texts_without_words() -> None:
    (easy, _, grade, index), (hard, _, other_grade, other_index) = TEXTSTAT[:2]
    found = readability([easy, "…", hard, ""])
    assert found["flesch_kincaid"] == pytest.approx((grade + other_grade) / 2)
    assert found["coleman_liau"] == pytest.approx((index + other_index) / 2)


def test_no_words_no_value() -> None:
    assert all(math.isnan(value) for value in readability(["", "?!"]).values())
    assert math.isnan(flesch_kincaid(TextCounts.of("")))
    assert math.isnan(coleman_liau(TextCounts.of("")))
