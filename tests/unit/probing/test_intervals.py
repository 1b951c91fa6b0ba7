from __future__ import annotations

import pytest
import torch
from scipy.stats import binom, binomtest

from taskdepth.probing.intervals import bootstrap_interval, interval, wilson_interval


@pytest.mark.parametrize(("right", "n"), [(0, 7), (3, 10), (10, 10), (481, 500)])
def test_wilson_interval_is_scipys(right: int, n: int) -> None:
    lower, upper = wilson_interval(torch.tensor([right / n], dtype=torch.float64), n)
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert float(lower) == pytest.approx(expected.low, abs=1e-12)
    assert float(upper) == pytest.approx(expected.high, abs=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_bootstrap_interval_is_that_of_resampled_rows(share: float) -> None:
    n = 200
    accuracy = torch.tensor([share, share], dtype=torch.float64)
    lower, upper = bootstrap_interval(accuracy, n, seed=0, n_resamples=20_000)
    for found, q in ((lower, 0.025), (upper, 0.975)):
        expected = binom.ppf(q, n, share) / n if 0 < share < 1 else share
        assert found.tolist() == pytest.approx([expected] * 2, abs=0.01)
    rows = (torch.arange(n) < share * n).double()
    drawn = torch.randint(n, (20_000, n), generator=torch.Generator().manual_seed(1))
    resampled = rows[drawn].mean(dim=1).quantile(torch.tensor([0.025, 0.975]).double())
    assert [float(lower[0]), float(upper[0])] == pytest.approx(resampled.tolist(), abs=0.01)


def test_the_seed_decides() -> None:
    accuracy = torch.linspace(0, 1, 9, dtype=torch.float64)
    first, again = (torch.stack(interval(accuracy, 50, "bootstrap", 3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, torch.stack(interval(accuracy, 50, "bootstrap", 4)))
    assert (first[0] <= accuracy).all()
    assert (accuracy <= first[1]).all()
