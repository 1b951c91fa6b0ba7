"""Cross-validation equals one fit per fold and L2, each answering for the rows it has not seen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from taskdepth.errors import ConfigError, DataError
from taskdepth.probing.cross_validation import cross_validate
from taskdepth.probing.solver import fit_logistic

L2S = [1.0, 100.0, 0.1]


def sample(n: int, d: int, n_classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, n, d, generator=generator)
    y = (x[0, :, :n_classes] + torch.randn(n, n_classes, generator=generator)).argmax(dim=-1)
    return x, y


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("n", "d"), [(90, 6), (25, 40)])
def test_accuracies_are_those_of_fits_without_the_fold(n: int, d: int, n_classes: int) -> None:
    x, y = sample(n, d, n_classes)
    labels = torch.stack([y, y.flip(0)])[:, None]
    fold = torch.arange(n) % 4
    found = cross_validate(x, labels, L2S, fold, n_classes=n_classes, tolerance=1e-10)
    assert found.shape == (3, 2, 3)
    for l2, of_l2 in zip(L2S, found, strict=True):
        right = torch.zeros(2, 3)
        for k in range(4):
            seen = fold != k
            fit = fit_logistic(
                x[:, seen], labels[..., seen], l2, n_classes=n_classes, tolerance=1e-10
            )
            right += (fit.predict(x[:, ~seen]) == labels[..., ~seen]).sum(dim=-1)
        torch.testing.assert_close(of_l2, right.double() / n, atol=1e-12, rtol=0)


def test_a_single_problem_has_one_accuracy_per_l2() -> None:
    x, y = sample(60, 5, 3)
    assert cross_validate(x[0], y, L2S, torch.arange(60) % 5).shape == (3,)


def test_the_default_tolerance_is_enough_to_choose_by() -> None:
    x, y = sample(120, 30, 3)
    fold = torch.arange(120) % 5
    loose = cross_validate(x, y, L2S, fold)
    exact = cross_validate(x, y, L2S, fold, tolerance=1e-10)
    torch.testing.assert_close(loose, exact, atol=0.02, rtol=0)
    chosen = exact.gather(0, loose.argmax(dim=0, keepdim=True))[0]
    assert bool((chosen >= exact.amax(dim=0) - 0.01).all())  # one row of 120 at most


@pytest.mark.parametrize(
    ("fold", "l2s", "error", "message"),
    [
        (torch.zeros(60, dtype=torch.long), L2S, DataError, "all 0"),  # no row is left to fit on
        (torch.arange(60) - 1, L2S, DataError, "number the rows"),
        (torch.arange(60) % 5, [0.0], ConfigError, "l2 must be positive"),
    ],
)
def test_folds_that_cannot_be_fitted_are_said(
    fold: Tensor, l2s: list[float], error: type[Exception], message: str
) -> None:
    x, y = sample(60, 5, 3)
    with pytest.raises(error, match=message):
        cross_validate(x, y, l2s, fold)
