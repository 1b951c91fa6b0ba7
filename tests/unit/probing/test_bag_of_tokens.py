from __future__ import annotations

import math

import torch

from probe_problems import problem
from taskdepth.probing.bag_of_tokens import bag_of_tokens
from taskdepth.probing.choice import choose

TRAIN = torch.tensor([True, True, False])


def test_counts_by_hand() -> None:
    """Tokens 5 and 9 are in the training rows, 7 is not; what remains is scaled by one factor."""
    (bag,) = bag_of_tokens([(5, 5, 9), (9,), (5, 7)], TRAIN)
    first = torch.tensor([math.log(3), math.log(2)])
    expected = torch.stack(
        [first / first.norm(), torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])]
    )
    torch.testing.assert_close(bag / bag.norm(dim=-1, keepdim=True), expected)
    assert len({round(float(norm), 5) for norm in bag.norm(dim=-1)}) == 1
    torch.testing.assert_close(bag[TRAIN].var(dim=0, correction=0).mean(), torch.tensor(1.0))


def test_the_vocabulary_is_the_most_frequent_tokens_of_the_training_rows() -> None:
    bag = bag_of_tokens([(1, 1, 1, 2, 2, 3), (4, 4, 4, 4), (8, 8, 8, 8)], TRAIN, max_tokens=2)
    assert bag.shape == (1, 3, 2)
    assert bag[0, 0, 0] == 0, "token 4 comes first"
    assert bag[0, 0, 1] > 0
    assert bag[0, 2].tolist() == [0, 0]


def test_rows_that_are_alike_stay_finite() -> None:
    assert bag_of_tokens([(1, 2)] * 3, TRAIN).isfinite().all()


def test_words_that_name_the_label_are_enough() -> None:
    given = problem()
    prompts = [(int(label), 50 + i % 13, 90) for i, label in enumerate(given.y)]
    bag = problem(x=bag_of_tokens(prompts, given.is_train), y=given.y, is_scaled=True)
    found = choose(bag, bag.y[None], [1.0, 10.0])
    assert torch.equal(found.predict(bag.x)[0, 0, bag.is_test], bag.y[bag.is_test])
