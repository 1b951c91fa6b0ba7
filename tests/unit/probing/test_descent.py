"""Converged means: about within the tolerance of the optimum, whatever the inputs look like."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from taskdepth.probing.descent import Stop
from taskdepth.probing.solver import fit_logistic, fit_path, solve

INPUTS = {
    "more rows than dimensions": (150, 12, lambda x: x),
    "fewer": (40, 90, lambda x: x),
    "a steep spectrum": (40, 90, lambda x: x * torch.arange(1, 91) ** -1.5),
    "a dimension that outweighs all others": (
        40,
        90,
        lambda x: x * 300.0 ** -(torch.arange(90) > 0).double(),
    ),
    "every row twice, its labels at odds": (40, 30, lambda x: x[..., torch.arange(40) // 2, :]),
    "many rows of few kinds": (150, 12, lambda x: x[..., torch.arange(150) % 5, :]),
}


def problem(name: str, n_classes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    n, d, made = INPUTS[name]
    generator = torch.Generator().manual_seed(0)
    x = made(3 * torch.randn(2, n, d, generator=generator, dtype=torch.float64)).to(dtype)
    noise = torch.randn(n, n_classes, generator=generator, dtype=torch.float64)
    directions = torch.randn(d, n_classes, generator=generator, dtype=torch.float64)
    return x, (x[0].double() @ directions / d**0.5 + noise).argmax(dim=-1)


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("l2", [1.0, 10.0])
@pytest.mark.parametrize("name", INPUTS)
def test_the_gap_is_within_the_tolerance(name: str, l2: float, n_classes: int) -> None:
    x, y = problem(name, n_classes, torch.float64)
    exact = fit_logistic(x, y, l2, n_classes=n_classes, tolerance=1e-13).objective
    for tolerance in (1e-2, 1e-4, 1e-6, 1e-8):
        fit = fit_logistic(x, y, l2, n_classes=n_classes, tolerance=tolerance)
        assert bool(fit.converged.all())
        # an estimate tells the gap
        assert bool((fit.objective <= (1 + 4 * tolerance) * exact).all()), tolerance


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("name", INPUTS)
def test_float32_has_the_optimum_of_float64(name: str, n_classes: int) -> None:
    x, y = problem(name, n_classes, torch.float32)
    l2s = [1.0, 100.0]
    for near, exact in zip(
        fit_path(x, y, l2s, n_classes=n_classes),
        fit_path(x.double(), y, l2s, n_classes=n_classes, tolerance=1e-12),
        strict=True,
    ):
        assert bool(near.converged.all())
        torch.testing.assert_close(near.objective, exact.objective, rtol=1e-6, atol=0)


def test_few_steps_are_not_called_the_optimum() -> None:
    x, y = problem("fewer", 5, torch.float64)
    fit, *_ = solve(x, y, [0.1], None, 5, Stop(1e-10, 3))
    assert not bool(fit.converged.any())
