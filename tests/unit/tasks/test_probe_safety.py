from __future__ import annotations

from itertools import product

import pytest

from taskdepth.tasks.probe_safety import Judgement, judged, named_labels, options_of
from taskdepth.tasks.spec import Kind, TaskSpec

FILM = TaskSpec("film", "sentiment", Kind.CLASSIFICATION, ("negative", "positive"))
NLI = TaskSpec("nli", "nli", Kind.CLASSIFICATION, ("It's impossible to say", "No", "Yes"))
CHOICE = TaskSpec("quiz", "qa", Kind.MULTIPLE_CHOICE)
FREE = TaskSpec("mail", "summarization", Kind.GENERATION)
LIST = "\n\nOPTIONS:\n- negative\n- positive"


@pytest.mark.parametrize(
    ("target", "label"),
    [
        ("positive", "positive"),
        (" Positive\n", "positive"),
        ("NEGATIVE", "negative"),
        ("positively", None),
        ("", None),
        ("A fine film.", None),
    ],
)
def test_the_target_is_matched_with_the_closed_set(target: str, label: str | None) -> None:
    found = judged(FILM, "Great!" + LIST, target)
    assert found == Judgement(
        label or target, label, ("negative", "positive"), inverted=label is None
    )


def test_case_decides_where_labels_differ_in_case_only() -> None:
    spec = TaskSpec("case", "misc", Kind.CLASSIFICATION, ("US", "us"))
    assert judged(spec, "?", "us").label == "us"
    assert judged(spec, "?", "Us").label is None


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("Great!" + LIST, set()),
        ("It is positive." + LIST, {"positive"}),
        ("Is it POSITIVE?" + LIST, set()),
        ('He asked "is it positive?"\nWell.' + LIST, set()),
        ("Is it positive? I think it is positive. Right?", {"positive"}),
        ("Say positive or negative.", {"positive", "negative"}),
        ("A positively un-negative film.", {"negative"}),
        ("OPTIONS:\n- negative\n- positive\n\nThis is a negative review.", {"negative"}),
        ("The options: positive", {"positive"}),
    ],
)
def test_labels_are_named_outside_options_and_questions(prompt: str, named: set[str]) -> None:
    assert named_labels(prompt, FILM.labels) == named


def test_words_of_running_text_are_never_counted() -> None:
    for labels in [("no", "yes"), ("False", "True"), ("0", "10", "2"), ("A", "B")]:
        assert named_labels("No. Yes. A true or false B. 0 2 10.", labels) == set()
    assert not judged(NLI, "No, I say yes.", "No").inverted
    assert judged(NLI, "It's impossible to say.", "No").inverted


def test_what_is_left_out_does_not_depend_on_the_right_label() -> None:
    """Else the labels that remain would be skewed."""
    for named, right in product(FILM.labels, FILM.labels):
        assert judged(FILM, f"A {named} word.", right).inverted
        assert not judged(FILM, "Both positive and negative words.", right).inverted


def test_what_all_rows_share_gives_nothing_away() -> None:
    prompt = "Say positive when the film is good.\n\nA bore."
    assert judged(FILM, prompt, "negative").inverted
    assert not judged(FILM, prompt, "negative", own_text="A bore.").inverted


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("no list", None),
        ("OPTIONS:\n", None),
        ("q\nOPTIONS:\n- a \n-  b c", ("a", "b c")),
        ("OPTIONS:\n- a\n- b\n\nq\n- not one", ("a", "b")),
        ("OPTIONS:\n- a\n\nOPTIONS:\n- b\n", ("b",)),
        ("My OPTIONS:\n- a", None),
    ],
)
def test_options_are_read_from_the_prompt(prompt: str, options: tuple[str, ...] | None) -> None:
    assert options_of(prompt) == options


@pytest.mark.parametrize(
    ("prompt", "target", "expected"),
    [
        ("q\nOPTIONS:\n- one\n- two ", "two ", Judgement("two", None, ("one", "two"))),
        ("q\nOPTIONS:\n- one\n- two", "three", Judgement("three", None, ("one", "two"), True)),
        ("Write a question.", "Why?", Judgement("Why?", None, None, True)),
    ],
)
def test_multiple_choice(prompt: str, target: str, expected: Judgement) -> None:
    assert judged(CHOICE, prompt, target) == expected


def test_free_text_is_inverted_by_its_cues() -> None:
    cues = ("^Write", "an e-?mail about")
    assert judged(FREE, "Write: x", "y", cues).inverted
    assert judged(FREE, "This is an email about x", "y", cues).inverted
    assert not judged(FREE, "Sum up: Write", "y", cues).inverted
    assert not judged(FREE, "Write: x", "y").inverted


def test_a_closed_set_offers_its_list_only_when_the_answer_is_in_it() -> None:
    assert judged(FILM, "?\nOPTIONS:\n- Bad\n- Good", "positive").options is None
