"""Sample weights: sklearn's optimum, rows left out by weight 0, rows repeated by whole weights."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from taskdepth.errors import DataError
from taskdepth.probing.part import Stop
from taskdepth.probing.solver import LogisticFit, fit_logistic, fit_path, solve


def sample(*shape: int, n_classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64) + 1
    y = torch.randint(n_classes, (shape[-2],), generator=generator)
    y[:n_classes] = torch.arange(n_classes)
    return x, y


def some_weights(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 4


def assert_same(a: LogisticFit, b: LogisticFit) -> None:
    assert bool(a.converged.all())
    assert bool(b.converged.all())
    torch.testing.assert_close(a.objective, b.objective, rtol=1e-9, atol=0)
    torch.testing.assert_close(a.weight, b.weight, rtol=0, atol=1e-4)
    torch.testing.assert_close(a.bias, b.bias, rtol=0, atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize(("n", "d"), [(80, 6), (30, 50)])
def test_weights_are_sklearns(n: int, d: int, n_classes: int) -> None:
    x, y = sample(n, d, n_classes=n_classes)
    weight = some_weights(n)
    weight[7] = 0
    fit = fit_logistic(x, y, 0.5, weight=weight, tolerance=1e-12)
    theirs = LogisticRegression(C=2.0, tol=1e-10, max_iter=10000)
    theirs.fit(x.numpy(), y.numpy(), sample_weight=weight.numpy())
    torch.testing.assert_close(fit.weight, torch.tensor(theirs.coef_.T), atol=1e-4, rtol=0)
    log_p = torch.tensor(theirs.predict_log_proba(x.numpy()))
    loss = -(weight * log_p.gather(1, y[:, None])[:, 0]).sum()
    expected = loss + 0.25 * torch.tensor(theirs.coef_).square().sum()
    assert fit.objective.item() == pytest.approx(expected.item(), rel=1e-8)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("n", "d"), [(90, 5), (24, 40)])
def test_folds_as_weights_are_fits_without_their_rows(n: int, d: int, n_classes: int) -> None:
    x, y = sample(2, n, d, n_classes=n_classes)
    fold = torch.arange(n) % 3
    weight = torch.stack([fold != k for k in range(3)]).double()
    together = fit_path(
        x, y, [0.1, 10.0], weight=weight[:, None], n_classes=n_classes, tolerance=1e-12
    )
    for l2, fit in zip([0.1, 10.0], together, strict=True):
        assert fit.objective.shape == (3, 2)
        for k in range(3):
            kept = fold != k
            alone = fit_logistic(x[:, kept], y[kept], l2, n_classes=n_classes, tolerance=1e-12)
            names = ("weight", "bias", "objective", "converged")
            assert_same(LogisticFit(*(getattr(fit, name)[k] for name in names)), alone)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("n", "d"), [(40, 5), (15, 30)])
def test_whole_weights_are_repeated_rows(n: int, d: int, n_classes: int) -> None:
    x, y = sample(n, d, n_classes=n_classes)
    times = torch.arange(n) % 4
    repeated = fit_logistic(
        x.repeat_interleave(times, dim=0),
        y.repeat_interleave(times),
        0.3,
        n_classes=n_classes,
        tolerance=1e-12,
    )
    counted = fit_logistic(x, y, 0.3, weight=times.double(), n_classes=n_classes, tolerance=1e-12)
    assert_same(counted, repeated)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_class_with_no_weight_is_absent(n_classes: int) -> None:
    x, y = sample(40, 5, n_classes=n_classes)
    kept = y != n_classes - 1
    fit = fit_logistic(x, y, 0.5, weight=kept.double(), n_classes=n_classes, tolerance=1e-12)
    without = fit_logistic(x[kept], y[kept], 0.5, n_classes=n_classes, tolerance=1e-12)
    torch.testing.assert_close(fit.objective, without.objective, rtol=1e-9, atol=0)
    torch.testing.assert_close(fit.bias, without.bias, rtol=0, atol=1e-5)
    assert (fit.bias == -torch.inf).sum() == 1
    assert not fit.weight.isnan().any()
    assert not (fit.predict(x) == n_classes - 1).any()


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_weights_and_penalty_scale_together(scale: float) -> None:
    x, y = sample(30, 4, n_classes=3)
    fit = fit_logistic(x, y, 0.5, tolerance=1e-12)
    weight = torch.full((30,), scale, dtype=torch.float64)
    scaled = fit_logistic(x, y, 0.5 * scale, weight=weight, tolerance=1e-12)
    torch.testing.assert_close(scaled.objective / scale, fit.objective, rtol=1e-9, atol=0)
    torch.testing.assert_close(scaled.weight, fit.weight, rtol=0, atol=1e-5)


X, Y = sample(2, 12, 3, n_classes=2)
ONES = torch.ones(12)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (-ONES, "finite and not negative"),
        (ONES / 0, "finite and not negative"),
        (ONES * torch.nan, "finite and not negative"),
        (ONES * 0, "all 0"),
        (torch.stack([ONES, ONES * 0]), "all 0"),
        (ONES[:5], r"weight \[5\] and y \[12\] differ"),
        (ONES.expand(3, 12), "do not broadcast"),
    ],
)
def test_weights_that_cannot_be_used_are_said(weight: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        solve(X, Y, [1.0], weight, 2, Stop(1e-7, 100))
