"""Batches, halves and ranks give what the whole gives at once."""

import inspect

import pytest
import torch
from torchmetrics import MetricCollection

from taskdepth.errors import DataError
from taskdepth.similarity import DebiasedCKA, LinearCKA, debiased_cka, linear_cka

TWINS = {LinearCKA: linear_cka, DebiasedCKA: debiased_cka}


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sides(n=60, p=7, q=5, offset=100.0):
    """Far off the origin: a hundred times their spread."""
    x = randn(n, p) * torch.logspace(0, -1, p) + offset * randn(p, seed=2)
    return x, x[:, :q] + 0.7 * randn(n, q, seed=1) - offset * randn(q, seed=3)


def fed(twin, x, y, batch=13):
    metric = twin(x.shape[1], y.shape[1])
    for rows in zip(x.split(batch), y.split(batch), strict=True):
        metric.update(*rows)
    return metric


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("offset", [0.0, 100.0, 1e4])
@pytest.mark.parametrize("batch", [1, 13, 60])
def test_batches_equal_the_whole(twin, offset, batch):
    x, y = sides(offset=offset)
    value = fed(twin, x, y, batch).compute()
    assert value.dtype == torch.float64
    assert float(value) == pytest.approx(float(TWINS[twin](x, y)), rel=1e-8)


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("cut", [1, 25, 59])
def test_merged_halves_equal_the_whole(twin, cut):
    x, y = sides()
    x[:cut] += 50  # ranks that see other examples have other origins
    first, second = fed(twin, x[:cut], y[:cut]), fed(twin, x[cut:], y[cut:])
    first.merge_state(second)
    assert float(first.compute()) == pytest.approx(float(TWINS[twin](x, y)), rel=1e-8)
    assert float(fed(twin, x, y).compute()) == pytest.approx(float(first.compute()), rel=1e-8)


@pytest.mark.parametrize("twin", TWINS)
def test_ranks_are_reduced_by_torchmetrics(twin):
    """Three ranks, one without examples: the gathering is played, the reduction is the real one."""
    x, y = sides()
    states = [fed(twin, *part).moments for part in ((x[:20], y[:20]), (x[20:], y[20:]))]
    states.insert(0, twin(7, 5).moments)
    metric = twin(7, 5, dist_sync_fn=lambda *_, **__: states, distributed_available_fn=lambda: True)
    metric.update(x[:20], y[:20])
    assert float(metric.compute()) == pytest.approx(float(TWINS[twin](x, y)), rel=1e-8)
    # afterwards this rank holds its own examples again
    assert torch.equal(metric.moments, states[1])


def test_forward_gives_the_batch_and_keeps_the_whole():
    x, y = sides()
    metric = DebiasedCKA(7, 5)
    of_first = metric(x[:30], y[:30])
    metric(x[30:], y[30:])
    assert float(of_first) == pytest.approx(float(debiased_cka(x[:30], y[:30])), rel=1e-8)
    assert float(metric.compute()) == pytest.approx(float(debiased_cka(x, y)), rel=1e-8)
    metric.reset()
    metric.update(x[:30], y[:30])
    assert float(metric.compute()) == pytest.approx(float(of_first), rel=1e-8)


def test_both_in_one_collection():
    x, y = sides()
    both = MetricCollection({"linear": LinearCKA(7, 5), "debiased": DebiasedCKA(7, 5)})
    both.update(x[:30], y[:30])
    both.update(x[30:], y[30:])
    assert {name: float(value) for name, value in both.compute().items()} == pytest.approx(
        {"linear": float(linear_cka(x, y)), "debiased": float(debiased_cka(x, y))}, rel=1e-8
    )


def test_large_offset_in_low_precision():
    x, y = (side.to(torch.bfloat16) for side in sides(offset=1.0))
    value = fed(DebiasedCKA, x, y).compute()
    assert float(value) == pytest.approx(float(debiased_cka(x, y)), rel=1e-8)


@pytest.mark.parametrize("twin", TWINS)
def test_undefined(twin):
    x, y = sides(offset=0.1)
    same = torch.full_like(x, 0.1)
    assert fed(twin, same, y).compute().isnan()
    halves = fed(twin, same[:9], y[:9])
    halves.merge_state(fed(twin, same[9:], y[9:]))
    assert halves.compute().isnan()
    x[3, 2] = torch.nan
    assert fed(twin, x, y).compute().isnan()


def test_too_few_examples_are_undefined():
    x, y = sides(n=3)
    assert fed(DebiasedCKA, x, y).compute().isnan()
    assert fed(LinearCKA, x, y).compute().isfinite()
    nothing = LinearCKA(7, 5)
    nothing.update(x[:0], y[:0])
    assert nothing.compute().isnan()
    joined = LinearCKA(7, 5)
    joined.update(x[:0], y[:0])
    joined.merge_state(fed(LinearCKA, x, y))
    assert joined.compute().isfinite()


@pytest.mark.parametrize(
    ("shape_x", "shape_y"), [((4, 7), (4, 6)), ((4, 7), (5, 5)), ((4, 5), (4, 7)), ((7,), (5,))]
)
def test_refuses(shape_x, shape_y):
    with pytest.raises(DataError, match="width 7 and 5"):
        # unwrapped: where shapes are checked by type, that check would speak first
        inspect.unwrap(LinearCKA.update)(LinearCKA(7, 5), randn(*shape_x), randn(*shape_y))
