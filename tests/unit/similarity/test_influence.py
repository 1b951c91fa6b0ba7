"""CKA without each example in turn, against the measures on the others."""

import pytest
import torch

from taskdepth.similarity import debiased_cka, linear_cka
from taskdepth.similarity.centring import centred
from taskdepth.similarity.influence import leave_one_out_cka


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def related(n=12, p=7, q=5):
    """Three depths: alike, half alike, not alike; far off zero."""
    x = randn(3, n, p)
    y = x[..., :q] + torch.tensor([0.1, 1.0, 50.0])[:, None, None] * randn(3, n, q, seed=1)
    return x + 30, y - 7


def grams(*sides):
    return tuple(centred(side) @ centred(side).mT for side in sides)


def literally(measure, x, y):
    others = [[j for j in range(x.shape[1]) if j != i] for i in range(x.shape[1])]
    return torch.stack(
        [
            torch.stack([measure(one[kept], other[kept]) for kept in others])
            for one, other in zip(x, y, strict=True)
        ]
    )


@pytest.mark.parametrize("n", [5, 12])
@pytest.mark.parametrize(("index", "measure"), [(0, linear_cka), (1, debiased_cka)])
def test_equals_the_measure_without_each_example(index, measure, n):
    x, y = related(n)
    found = leave_one_out_cka(*grams(x, y))[index]
    torch.testing.assert_close(found, literally(measure, x, y), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("size", [1e2, 1e3, 1e5])
@pytest.mark.parametrize(("index", "measure"), [(0, linear_cka), (1, debiased_cka)])
def test_is_as_exact_where_one_example_holds_nearly_all_variance(index, measure, size):
    x, y = related()
    x[:, 4] *= size
    y[:, 4] *= size
    found = leave_one_out_cka(*grams(x, y))[index]
    torch.testing.assert_close(
        found, literally(measure, x, y), rtol=1e-5, atol=1e-5, equal_nan=True
    )
    assert found[:, 4].isfinite().all()
    if measure is linear_cka:
        assert found[2, 4] < 0.9 * found[2, :4].min(), "alike by that example alone"


def test_undefined_where_only_the_missing_example_has_variance():
    x, y = related()
    x[:] = 0.3
    x[:, 2] = randn(7, seed=2)
    for found in leave_one_out_cka(*grams(x, y)):
        assert found[:, 2].isnan().all()
    linear, debiased = leave_one_out_cka(*grams(torch.zeros_like(x), y))
    assert linear.isnan().all()
    assert debiased.isnan().all()


def test_too_few_for_debiased_cka_without_one():
    linear, debiased = leave_one_out_cka(*grams(*related(4)))
    assert linear.isfinite().all()
    assert debiased.isnan().all()
