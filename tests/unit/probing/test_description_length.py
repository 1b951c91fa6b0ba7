from __future__ import annotations

import math

import pytest
import torch

from probe_problems import DEPTHS, D, N, problem
from taskdepth.probing.description_length import block_ends, description_length
from taskdepth.probing.scaling import Scaling
from taskdepth.probing.scores import log_probabilities
from taskdepth.probing.solver import fit_logistic

L2S = [1.0, 10.0, 100.0, 1000.0]


@pytest.mark.parametrize(
    ("n", "n_classes", "expected"),
    [
        (100_000, 2, [100, 200, 400, 800, 1600, 3200, 6250, 12500, 25000, 50000, 100000]),
        (20, 2, [4, 5, 10, 20]),
        (4, 2, [4]),
        (3, 2, [3]),
    ],
)
def test_blocks(n: int, n_classes: int, expected: list[int]) -> None:
    assert block_ends(n, n_classes) == expected


def test_random_states_have_the_uniform_code_and_informative_ones_a_short_one() -> None:
    found = description_length(problem(), L2S, seed=0)
    assert found.n == N * 4 / 6
    assert found.compression[:2].tolist() == pytest.approx([1.0, 1.0], abs=0.06)
    assert (found.compression[2:] > 3).all()
    torch.testing.assert_close(
        found.bits * found.compression, torch.full((DEPTHS,), 400 * math.log2(3)).double()
    )


def test_by_hand() -> None:
    """Sixteen training rows: four by the uniform code, then blocks of four and eight."""
    given = problem(x=problem().x[:, :24], y=torch.arange(24) // 3 % 2, n_classes=2)
    found = description_length(given, [10.0], seed=5)
    rows = given.is_train.nonzero()[:, 0]
    rows = rows[torch.randperm(16, generator=torch.Generator().manual_seed(5))]
    x, y = Scaling.of(given.x[:, rows]).apply(given.x[:, rows]), given.y[rows]
    assert set(y[:4].tolist()) == {0, 1}
    expected = torch.full((DEPTHS,), 4.0, dtype=torch.float64)
    for start, end in ((4, 8), (8, 16)):
        log_p = log_probabilities(fit_logistic(x[:, :start], y[:start], 10.0), x[:, start:end])
        for row in range(start, end):
            expected -= log_p[:, row - start, y[row]] / math.log(2)
    torch.testing.assert_close(found.bits, expected, atol=2e-2, rtol=0)


def test_relabelling_classes_changes_nothing() -> None:
    given = problem()
    other = problem(x=given.x, y=torch.tensor([2, 0, 1])[given.y])
    before, after = (description_length(p, L2S, seed=1) for p in (given, other))
    torch.testing.assert_close(before.bits, after.bits, rtol=1e-3, atol=0)


def test_classes_that_come_late_have_a_code() -> None:
    """One row of twenty is of class 1: the first block may hold none, and then the fit knows one class."""
    y = (torch.arange(N) % 20 == 0).long()
    for seed in range(4):
        found = description_length(problem(x=torch.randn(1, N, D), y=y, n_classes=2), L2S, seed)
        assert found.bits.isfinite().all()
        assert float(found.compression[0]) > 2, "the frequencies alone are that short"
