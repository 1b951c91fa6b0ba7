from __future__ import annotations

from collections import Counter

import pytest
import torch
import transformers

from taskdepth.data.batches import Batching, ScoringBatches, TrainBatches, answers
from taskdepth.data.token_rows import TokenRows
from taskdepth.data.tokenise import PromptFormat, TokenisedRow, Tokeniser
from taskdepth.models.balance import token_weights
from taskdepth.models.loading import LanguageModel
from taskdepth.models.targets import score_targets
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example, LMBatch


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


BUDGET = 40


def budgeted(packed: bool, seed: int = 0) -> TrainBatches:
    """60 rows of 2 to 18 tokens and one longer than the budget; a row's first token is its number."""
    lengths = [2 + i * 7 % 17 for i in range(60)] + [BUDGET + 5]
    rows = [TokenisedRow(str(i), "t", (i, *[99] * (n - 1)), 1) for i, n in enumerate(lengths)]
    return TrainBatches(TokenRows(rows), {"t": 0}, Batching(4, BUDGET, packed), seed)


def numbers(batch: LMBatch) -> list[int]:
    """Which rows a batch holds."""
    first = (batch.position_ids == 0) & (batch.example >= 0)
    return batch.input_ids[first].tolist()


@pytest.mark.parametrize("packed", [False, True])
def test_a_budget_holds_and_every_row_comes_once(packed: bool) -> None:
    batches = budgeted(packed)
    epoch = list(batches)
    assert len(epoch) == len(batches)
    assert sorted(i for batch in epoch for i in numbers(batch)) == list(range(61))
    for batch in epoch:
        assert batch.packed == packed
        assert batch.input_ids.numel() <= BUDGET or batch.n_examples == 1
    assert max(batch.input_ids.numel() for batch in epoch) == BUDGET + 5
    real = sum(sum(batch.lengths_tokens) for batch in epoch)
    assert len(epoch) < real / BUDGET * (1.2 if packed else 1.5), "nor are they half empty"


@pytest.mark.parametrize("packed", [False, True])
def test_with_a_budget_epochs_are_as_long_and_in_another_order(packed: bool) -> None:
    first, second = epochs(budgeted(packed), 0, 2)
    assert first != second
    assert Counter(map(str, first)) == Counter(map(str, second))
    assert [first, second] == epochs(budgeted(packed), 0, 2)
    assert [first] != epochs(budgeted(packed, seed=1), 0, 1)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("n_seen", [0, 1, 7])
def test_with_a_budget_it_goes_on_where_its_state_was_taken(packed: bool, n_seen: int) -> None:
    expected = epochs(budgeted(packed), 0, 2)
    interrupted, resumed = budgeted(packed), budgeted(packed)
    taken = iter(interrupted)
    got = [next(taken).input_ids.tolist() for _ in range(n_seen)]
    resumed.load_state_dict(interrupted.state_dict())
    assert got + epochs(resumed, 0, 1)[0] == expected[0]
    assert epochs(resumed, 1, 2)[0] == expected[1]


def test_rows_of_one_length_are_not_packed_task_by_task() -> None:
    rows = [TokenisedRow(str(i), "ab"[i // 40], (i, 1, 1, 1), 1) for i in range(80)]
    batches = TrainBatches(TokenRows(rows), {"a": 0, "b": 1}, Batching(tokens=32), seed=0)
    assert len(batches) == 10
    mixed = [len(set(batch.task_index.tolist())) == 2 for batch in batches]
    assert sum(mixed) >= 8


def accumulating(balance: str, packed: bool, tokens: int | None) -> TrainBatches:
    """31 rows of two tasks, whose targets are 1 to 9 tokens long."""
    generator = torch.Generator().manual_seed(3)
    rows = []
    for i in range(31):
        n_prompt, n_target = 1 + i % 3, 1 + i * 5 % 9
        ids = torch.randint(50, (n_prompt + n_target,), generator=generator).tolist()
        rows.append(TokenisedRow(str(i), "tu"[i % 2], tuple(ids), n_prompt))
    batching = Batching(4, tokens, packed, accumulated=3, balance=balance)
    return TrainBatches(TokenRows(rows), {"t": 0, "u": 1}, batching, seed=0)


@pytest.mark.parametrize("tokens", [None, 30])
@pytest.mark.parametrize("balance", ["token", "example"])
def test_accumulated_batches_have_the_gradient_of_one_large_batch(
    balance: str, tokens: int | None
) -> None:
    """Lightning divides the loss of each by `accumulated`, in an incomplete last window too."""
    torch.manual_seed(0)
    lm = transformers.AutoModelForCausalLM.from_config(
        transformers.LlamaConfig(
            vocab_size=50,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            initializer_range=0.3,
        )
    ).double()
    weight = lm.model.layers[0].mlp.down_proj.weight
    batches = list(accumulating(balance, packed=False, tokens=tokens))
    assert len(batches) % 3 != 0, "the last window is incomplete"
    uneven = False
    for start in range(0, len(batches), 3):
        window = batches[start : start + 3]
        lm.zero_grad()
        for batch in window:
            targets = score_targets(lm, batch)
            weights = token_weights(balance, targets.n_tokens, batch.task_index, torch.ones(2))
            loss = (targets.loss * weights[targets.example]).sum()
            (loss * batch.share / 3).backward()
        by_hand = [equals(lm, batch, balance) for batch in window]
        (expected,) = torch.autograd.grad(torch.cat(by_hand).mean(), weight)
        torch.testing.assert_close(weight.grad, expected)
        uneven |= len({len(losses) for losses in by_hand}) > 1
    assert uneven, "a mean of means would pass as well"


def equals(lm: torch.nn.Module, batch: LMBatch, balance: str) -> torch.Tensor:
    """What counts the same, by hand: the loss of each token, or the mean loss of each example."""
    likelihoods = lm(**batch.inputs()).logits[:, :-1].log_softmax(-1)
    labels = batch.labels[:, 1:]
    loss = -likelihoods.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    known = labels >= 0
    return loss[known] if balance == "token" else (loss * known).sum(1) / known.sum(1)


@pytest.mark.parametrize("balance", ["token", "example", "task"])
@pytest.mark.parametrize("packed", [False, True])
def test_shares_are_one_on_average_in_full_windows(balance: str, packed: bool) -> None:
    shares = [batch.share for batch in accumulating(balance, packed, tokens=30)]
    full, rest = divmod(len(shares), 3)
    for window in range(full):
        assert sum(shares[3 * window : 3 * window + 3]) == pytest.approx(3)
    assert sum(shares[3 * full :]) == pytest.approx(3 if rest else 0)
    assert {batch.share for batch in budgeted(packed)} == {1.0}


def test_shares_do_not_change_when_an_epoch_is_resumed() -> None:
    whole = [batch.share for batch in accumulating("token", True, None)]
    resumed = accumulating("token", True, None)
    resumed.load_state_dict({"next_batch": 4})
    assert [batch.share for batch in resumed] == whole[4:]


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
