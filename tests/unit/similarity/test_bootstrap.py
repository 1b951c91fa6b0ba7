"""Re-weighted Gram matrices against samples that are really drawn, tuple by tuple."""

from itertools import permutations

import numpy as np
import pytest
import torch

from taskdepth.similarity.bootstrap import (
    bootstrap_cka,
    centred_interval,
    percentile_interval,
    sample_weights,
)
from taskdepth.similarity.centring import centred
from taskdepth.similarity.cka import debiased_cka, linear_cka


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gram(x):
    x = centred(x)
    return (x @ x.mT)[None]


def test_weights_count_draws():
    weights = sample_weights(30, 500, torch.Generator().manual_seed(0))
    assert weights.shape == (500, 30)
    assert weights.dtype == torch.float64
    assert (weights.sum(1) == 30).all()
    # each count is binomial: mean 1, variance 1 - 1/30
    assert weights.var().item() == pytest.approx(1 - 1 / 30, rel=0.05)
    np.testing.assert_allclose(weights.mean(0), 1, atol=0.25)


def test_unit_weights_give_the_plain_values():
    x, y = randn(2, 9, 20), randn(2, 9, 4, seed=1)
    x = torch.cat([x, y[..., :2]], dim=-1)
    grams = [centred(side) @ centred(side).mT for side in (x, y)]
    linear, debiased = bootstrap_cka(*grams, torch.ones(1, 9, dtype=torch.float64))
    for depth in range(2):
        assert float(linear[depth, 0]) == pytest.approx(float(linear_cka(x[depth], y[depth])))
        assert float(debiased[depth, 0]) == pytest.approx(float(debiased_cka(x[depth], y[depth])))


def test_linear_cka_of_a_sample_is_that_of_its_rows():
    x, y = randn(7, 3), randn(7, 5, seed=1)
    rows = torch.tensor([0, 0, 1, 3, 3, 3, 6])
    weights = torch.bincount(rows, minlength=7).double()[None]
    linear, _ = bootstrap_cka(gram(x), gram(y), weights)
    assert float(linear) == pytest.approx(float(linear_cka(x[rows], y[rows])))


def u_statistic(K, L, sample):
    """Mean of K_ij (L_ij + L_qr - 2 L_iq), each mean over tuples of distinct examples."""

    def mean(size, term):
        tuples = [t for t in permutations(sample, size) if len(set(t)) == size]
        return np.mean([term(*t) for t in tuples])

    return (
        mean(2, lambda i, j: K[i, j] * L[i, j])
        + mean(4, lambda i, j, q, r: K[i, j] * L[q, r])
        - 2 * mean(3, lambda i, j, q: K[i, j] * L[i, q])
    )


@pytest.mark.parametrize("sample", [[0, 1, 2, 3, 4, 5], [0, 0, 1, 2, 3, 3], [5, 4, 4, 4, 1, 0]])
def test_debiased_cka_of_a_sample_averages_over_distinct_examples(sample):
    x, y = randn(6, 3), randn(6, 4, seed=1)
    y = torch.cat([x[:, :1], y], dim=1)
    weights = torch.bincount(torch.tensor(sample), minlength=6).double()[None]
    _, debiased = bootstrap_cka(gram(x), gram(y), weights)
    K, L = gram(x)[0].numpy(), gram(y)[0].numpy()
    xy, xx, yy = (u_statistic(a, b, sample) for a, b in ((K, L), (K, K), (L, L)))
    assert xx > 0
    assert yy > 0
    assert float(debiased) == pytest.approx(xy / np.sqrt(xx * yy), rel=1e-9)


@pytest.mark.parametrize("sample", [[0, 0, 0, 0, 0], [0, 0, 1, 1, 2]])
def test_fewer_than_four_distinct_examples_are_undefined(sample):
    weights = torch.bincount(torch.tensor(sample), minlength=5).double()[None]
    linear, debiased = bootstrap_cka(gram(randn(5, 3)), gram(randn(5, 3, seed=1)), weights)
    assert debiased.isnan().all()
    assert linear.isnan().all() == (len(set(sample)) == 1)


def test_samples_of_debiased_cka_are_not_biased_where_those_of_linear_cka_are():
    """Independent data, as wide as 8 n: the case in which copies do most harm."""
    x, y = (centred(randn(60, 16, 128, seed=seed)) for seed in (0, 1))
    weights = sample_weights(16, 100, torch.Generator().manual_seed(0))
    linear, debiased = bootstrap_cka(x @ x.mT, y @ y.mT, weights)
    linear_value, debiased_value = bootstrap_cka(x @ x.mT, y @ y.mT, torch.ones_like(weights[:1]))
    assert (debiased.median(1).values - debiased_value[:, 0]).mean().abs() < 0.02
    assert (linear.median(1).values > linear_value[:, 0]).all()


def test_intervals():
    samples = torch.arange(1001, dtype=torch.float64)[None] / 1000 + 0.2
    value = torch.tensor([0.5], dtype=torch.float64)
    assert [float(b) for b in percentile_interval(value, samples)] == pytest.approx([0.225, 1.175])
    assert [float(b) for b in centred_interval(value, samples)] == pytest.approx([0.025, 0.975])
    # the value itself is never left out
    assert float(percentile_interval(value - 0.4, samples)[0]) == pytest.approx(0.1)


@pytest.mark.parametrize(("n_undefined", "defined"), [(0, True), (5, True), (6, False)])
def test_intervals_need_95_percent_of_the_samples(n_undefined, defined):
    samples = torch.linspace(0, 1, 100, dtype=torch.float64)[None].clone()
    samples[0, :n_undefined] = torch.nan
    for interval in (percentile_interval, centred_interval):
        bounds = torch.stack(interval(torch.tensor([0.5], dtype=torch.float64), samples))
        assert bounds.isfinite().all() == defined
