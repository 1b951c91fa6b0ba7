"""Measures that are called: at every depth what the function says, floors from the given orders."""

import pytest
import torch

from taskdepth.similarity import MEASURES
from taskdepth.similarity.cka import NO_VARIANCE
from taskdepth.similarity.direct import MAX_SHUFFLES, measured

CALLED = sorted(set(MEASURES) - {"linear_cka", "debiased_cka", "rbf_cka"})


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orders(n, count):
    generator = torch.Generator().manual_seed(3)
    return [torch.randperm(n, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("width", [8, 40], ids=["narrow", "wide"])
@pytest.mark.parametrize("name", CALLED)
def test_equals_the_function_at_every_depth(name, width):
    width = 12 if (name == "subspace_overlap" and width == 8) else width
    x = randn(2, 20, width)
    y = x[..., :-1] + randn(2, 20, width - 1, seed=1) + 5
    given = orders(20, MAX_SHUFFLES + 1)
    found = measured(MEASURES[name], x, y, given)
    function = MEASURES[name].function
    for depth in range(2):
        floor = torch.stack([function(x[depth], y[depth][o]) for o in given[:MAX_SHUFFLES]]).mean()
        torch.testing.assert_close(
            found.value[depth], function(x[depth], y[depth]), equal_nan=True, rtol=0, atol=1e-9
        )
        torch.testing.assert_close(found.shuffled[depth], floor, equal_nan=True, rtol=0, atol=1e-9)
    assert found.lower.isnan().all()
    assert found.worst_row.tolist() == [-1, -1]


@pytest.mark.parametrize("name", CALLED)
def test_without_variance_that_is_the_reason(name):
    x, y = randn(2, 20, 12), randn(2, 20, 13, seed=1)
    x[0] = 0.3
    found = measured(MEASURES[name], x, y, [])
    assert found.value.isnan().tolist() == [True, False]
    assert found.undefined == (NO_VARIANCE, "")
    assert found.shuffled.isnan().all()


@pytest.mark.parametrize(
    ("name", "x", "why"),
    [
        ("svcca", torch.eye(20), "as many dimensions as n examples"),
        ("rsa", torch.eye(20), "equally dissimilar"),
        ("mutual_knn", torch.eye(20), "equally near"),
        ("subspace_overlap", torch.eye(20), "leading dimensions"),
    ],
)
def test_other_reasons_are_the_measures_own(name, x, why):
    found = measured(MEASURES[name], x[None], randn(1, 20, 12), [])
    assert why in found.undefined[0]
    assert found.value.isnan().all()


def test_too_few_examples_for_this_measure():
    found = measured(MEASURES["mutual_knn"], randn(2, 11, 3), randn(2, 11, 3, seed=1), [])
    assert found.undefined == ("fewer than 12 examples",) * 2


def test_sides_are_prepared_first():
    x, y = randn(1, 20, 12), randn(1, 20, 13, seed=1)
    found = measured(MEASURES["mutual_knn"], x, y, [], lambda side: side - 9)
    assert float(found.value) == float(MEASURES["mutual_knn"].function(x[0] - 9, y[0] - 9))
