from __future__ import annotations

import pytest

from taskdepth.data.batches import Batching, ScoringBatches, TrainBatches, answers
from taskdepth.data.token_rows import TokenRows
from taskdepth.data.tokenise import PromptFormat, TokenisedRow, Tokeniser
from taskdepth.models.loading import LanguageModel
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example


def train_batches(n: int = 50, size: int = 4, seed: int = 0) -> TrainBatches:
    rows = [TokenisedRow(str(i), "t", tuple(range(1, 3 + i % 17)), 1) for i in range(n)]
    return TrainBatches(TokenRows(rows), {"t": 0}, Batching(size, packed=False), seed)


def seen(batches: TrainBatches) -> list[list[list[int]]]:
    return [batch.input_ids.tolist() for batch in batches]


def test_an_epoch_holds_every_row_once() -> None:
    batches = train_batches()
    epoch = list(batches)
    assert len(epoch) == len(batches) == 13
    lengths = sorted(int(n) for batch in epoch for n in (batch.example >= 0).sum(dim=1))
    assert lengths == sorted(2 + i % 17 for i in range(50))


def epochs(batches: TrainBatches, first: int, last: int) -> list[list[list[list[int]]]]:
    found = []
    for epoch in range(first, last):
        batches.sampler.set_epoch(epoch)
        found.append(seen(batches))
    return found


def test_epochs_differ_and_seeds_differ_and_both_repeat() -> None:
    first, second = epochs(train_batches(), 0, 2)
    assert first != second
    assert [first, second] == epochs(train_batches(), 0, 2)
    assert [first] != epochs(train_batches(seed=1), 0, 1)


@pytest.mark.parametrize("n_seen", [0, 1, 12, 13])
def test_it_goes_on_where_its_state_was_taken(n_seen: int) -> None:
    expected = epochs(train_batches(), 0, 2)
    interrupted, resumed = train_batches(), train_batches()
    taken = iter(interrupted)
    got = [next(taken).input_ids.tolist() for _ in range(n_seen)]
    resumed.load_state_dict(interrupted.state_dict())
    if n_seen < 13:
        got += epochs(resumed, 0, 1)[0]
    assert got == expected[0]
    assert epochs(resumed, 1, 2)[0] == expected[1]


def test_padding_stays_small() -> None:
    batches = list(train_batches(n=400, size=8))
    real = sum(sum(batch.lengths_tokens) for batch in batches)
    padded = sum(batch.input_ids.numel() for batch in batches)
    assert real / padded > 0.9


YES_NO = TaskSpec("t", "c", Kind.CLASSIFICATION, ("no", "yes"))
OPEN = TaskSpec("g", "c", Kind.GENERATION)
CHOICE = TaskSpec("m", "c", Kind.MULTIPLE_CHOICE)


def test_answers() -> None:
    table = [
        (Example("0", "t", "p", ("no",), "no"), YES_NO, [("no", True), ("yes", False)]),
        (Example("1", "g", "p", ("a", "b", "a")), OPEN, [("a", True), ("b", True)]),
        (Example("2", "m", "p", ("B",), None, ("A", "B")), CHOICE, [("B", True), ("A", False)]),
        # a target outside the set (an inverted template): nothing to rank
        (Example("3", "t", "p", ("a film",), "no"), YES_NO, [("a film", True)]),
    ]
    for example, spec, expected in table:
        assert answers(example, spec) == expected


def test_scoring_keeps_the_answers_of_an_example_together(tiny: LanguageModel) -> None:
    tokeniser = Tokeniser(tiny.tokenizer, PromptFormat(), 128)
    examples = [Example(str(i), "t", "word " * (i % 5), ("yes",), "yes") for i in range(11)]
    batches = list(ScoringBatches(examples, [YES_NO], tokeniser, batch_size_rows=5))
    assert sum(len(batch.task_index) for batch in batches) == 11
    for batch in batches:
        assert len(batch.example) <= 5
        assert batch.example.bincount().tolist() == [2] * len(batch.task_index)
        assert batch.is_right.tolist() == [True, False] * len(batch.task_index)
