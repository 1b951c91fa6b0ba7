"""Measures of an update against the full matrix that it stands for."""

from __future__ import annotations

import math

import pytest
import scipy.linalg
import torch

from taskdepth.weights import Update, effective_rank, overlap_of_inputs, overlap_of_outputs


def update(seed: int, d_out: int = 12, d_in: int = 9, rank: int = 3) -> Update:
    generator = torch.Generator().manual_seed(seed)
    b = torch.randn(d_out, rank, generator=generator)
    return Update.of(b, torch.randn(rank, d_in, generator=generator), 1.5)


@pytest.mark.parametrize("shape", [(12, 9, 3), (9, 12, 3), (5, 5, 5), (6, 4, 1)])
def test_norm_and_singular_values_are_those_of_the_product(shape: tuple[int, int, int]) -> None:
    made = update(0, *shape)
    full = made.b @ made.a
    expected = torch.linalg.svdvals(full)[: shape[2]]
    torch.testing.assert_close(made.singular_values(), expected)
    torch.testing.assert_close(made.norm(), full.norm())


def test_scaling_is_that_of_the_product() -> None:
    b, a = torch.ones(4, 1), torch.ones(1, 3)
    assert float(Update.of(b, a, -2.0).norm()) == pytest.approx(2 * math.sqrt(12))


def test_what_is_written_and_read() -> None:
    one, other = update(1), update(2)
    for found, a, b in (
        (overlap_of_outputs(one, other), one.b, other.b),
        (overlap_of_inputs(one, other), one.a.T, other.a.T),
    ):
        angles = scipy.linalg.subspace_angles(a.numpy(), b.numpy())
        assert float(found) == pytest.approx(float((torch.tensor(angles).cos() ** 2).mean()))
    assert float(overlap_of_outputs(one, one)) == pytest.approx(1)
    assert float(overlap_of_inputs(one, one)) == pytest.approx(1)


def test_how_the_product_is_factored_does_not_matter() -> None:
    one, other = update(3), update(4)
    mixed = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    same = Update(one.b @ mixed, torch.linalg.solve(mixed, one.a))
    torch.testing.assert_close(same.singular_values(), one.singular_values())
    torch.testing.assert_close(overlap_of_inputs(same, other), overlap_of_inputs(one, other))


def test_directions_that_do_nothing_do_not_count() -> None:
    one = update(6)
    idle = Update(torch.cat([one.b, torch.zeros(12, 2)], 1), torch.cat([one.a, one.a[:2]]))
    assert idle.outputs().shape == (12, 3)
    assert float(overlap_of_outputs(one, idle)) == pytest.approx(1)


def test_an_update_that_has_not_begun_is_undefined() -> None:
    nothing = Update.of(torch.zeros(12, 2), torch.ones(2, 9), 1.0)
    assert float(nothing.norm()) == 0
    assert effective_rank(nothing.singular_values()).isnan()
    assert overlap_of_outputs(nothing, update(0)).isnan()


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0], 1.0), ([1.0, 1.0, 1.0, 1.0], 4.0), ([0.7, 0.3], math.exp(0.6108643020548935))],
)
def test_effective_rank(values: list[float], expected: float) -> None:
    assert float(effective_rank(torch.tensor(values))) == pytest.approx(expected)
    assert float(effective_rank(10 * torch.tensor(values))) == pytest.approx(expected)


def test_unrelated_updates_overlap_by_chance() -> None:
    found = [overlap_of_outputs(update(i, 64), update(i + 100, 64)) for i in range(50)]
    assert float(torch.stack(found).mean()) == pytest.approx(3 / 64, rel=0.2)
