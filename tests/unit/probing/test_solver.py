"""The optimum is unique: objectives and predictions equal sklearn's, and agree with each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from taskdepth.errors import ConfigError, DataError
from taskdepth.probing.part import PART_BYTES, Stop
from taskdepth.probing.solver import LogisticFit, fit_logistic, fit_path, solve


def sample(
    *shape: int, n_classes: int = 3, seed: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Inputs `[*shape]` and labels `[n]` that depend on them, noisily."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=dtype)
    directions = torch.randn(shape[-1], n_classes, generator=generator, dtype=dtype)
    first = x.reshape(-1, *shape[-2:])[0]
    noise = torch.randn(shape[-2], n_classes, generator=generator, dtype=dtype)
    return x, (first @ directions / shape[-1] ** 0.5 + noise).argmax(dim=-1)


def objective(x: Tensor, y: Tensor, fit: LogisticFit, l2: float) -> Tensor:
    """Written out anew, for one problem."""
    logits = x.double() @ fit.weight.double() + fit.bias.double()
    if logits.shape[-1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=-1)
    loss = torch.nn.functional.cross_entropy(logits, y, reduction="sum")
    return loss + l2 / 2 * fit.weight.double().square().sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("load", "c", "expected", "accuracy"),
    [
        (load_digits, 0.01, 930.2399845179259, 0.94167),
        (load_digits, 1.0, 95.91358164465329, 0.96667),
        (load_digits, 100.0, 4.819527296518633, 0.95833),
        (load_breast_cancer, 0.01, 112.72824278276914, 0.92982),
        (load_breast_cancer, 1.0, 28.90920940452973, 0.96491),
    ],
)
def test_known_optima(
    load: Callable[..., Any], c: float, expected: float, accuracy: float, dtype: torch.dtype
) -> None:
    data, labels = load(return_X_y=True)
    x = torch.tensor(StandardScaler().fit_transform(data), dtype=dtype)
    y, train = torch.tensor(labels), torch.arange(len(labels)) % 5 != 0
    fit = fit_logistic(x[train], y[train], l2=1 / c)
    assert bool(fit.converged)
    assert fit.objective.item() == pytest.approx(expected, rel=1e-6)
    assert fit.weight.dtype == dtype
    right = (fit.predict(x[~train]) == y[~train]).double().mean().item()
    assert right == pytest.approx(accuracy, abs=1e-5)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize(("n", "d"), [(80, 6), (30, 50), (20, 20)])
@pytest.mark.parametrize("l2", [0.1, 1.0, 100.0])
def test_weights_are_sklearns(n: int, d: int, n_classes: int, l2: float) -> None:
    x, y = sample(n, d, n_classes=n_classes)
    fit = fit_logistic(x, y, l2, n_classes=n_classes, tolerance=1e-12)
    theirs = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=10000, solver="lbfgs").fit(x, y)
    assert set(theirs.classes_) == set(range(n_classes))
    torch.testing.assert_close(fit.weight, torch.tensor(theirs.coef_.T), atol=1e-4, rtol=0)
    torch.testing.assert_close(fit.predict(x), torch.tensor(theirs.predict(x)))
    assert fit.objective.item() == pytest.approx(objective(x, y, fit, l2).item(), rel=1e-12)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("n", [20, 60])
def test_gradient_vanishes(n: int, n_classes: int) -> None:
    x, y = sample(n, 30, n_classes=n_classes)
    fit = fit_logistic(x, y, 0.5, n_classes=n_classes, tolerance=1e-14)
    weight, bias = fit.weight.requires_grad_(), fit.bias.requires_grad_()
    at = LogisticFit(weight, bias, fit.objective, fit.converged)
    gradients = torch.autograd.grad(objective(x, y, at, 0.5), [weight, bias])
    assert torch.cat([gradient.flatten() for gradient in gradients]).norm() < 1e-5


def test_given_up_is_not_converged() -> None:
    x, y = sample(60, 8)
    assert not bool(fit_logistic(x, y, 0.5, max_steps=1).converged)


@pytest.mark.parametrize(
    ("x_shape", "y_shape", "problems"),
    [
        ((4,), (), (4,)),
        ((4,), (2, 1), (2, 4)),  # real and control labels at every depth
        ((), (3,), (3,)),
        ((2, 1), (3,), (2, 3)),
        ((2, 3), (2, 3), (2, 3)),
        ((1, 3), (2, 1), (2, 3)),
    ],
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_batched_is_solo(
    x_shape: tuple[int, ...], y_shape: tuple[int, ...], problems: tuple[int, ...], n_classes: int
) -> None:
    n, d = 40, 5
    x, y = sample(*x_shape, n, d, n_classes=n_classes)
    generator = torch.Generator().manual_seed(1)
    shuffled = torch.rand(*y_shape, n, generator=generator).argsort(dim=-1)
    labels = y[shuffled]
    fit = fit_logistic(x, labels, 0.3, n_classes=n_classes, tolerance=1e-12)
    assert fit.objective.shape == problems
    xs, ys = x.expand(*problems, n, d), labels.expand(*problems, n)
    for index in torch.cartesian_prod(*map(torch.arange, problems)).reshape(-1, len(problems)):
        at = tuple(index.tolist())
        solo = fit_logistic(xs[at], ys[at], 0.3, n_classes=n_classes, tolerance=1e-12)
        torch.testing.assert_close(fit.objective[at], solo.objective, rtol=1e-10, atol=0)
        torch.testing.assert_close(fit.weight[at], solo.weight, rtol=0, atol=1e-5)
        torch.testing.assert_close(fit.bias[at], solo.bias, rtol=0, atol=1e-5)


def test_parts_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = sample(7, 50, 6)
    whole = fit_logistic(x, y, 0.5)
    monkeypatch.setitem(PART_BYTES, "cpu", 1)
    parts = fit_logistic(x, y, 0.5)
    torch.testing.assert_close(parts.weight, whole.weight, atol=1e-4, rtol=0)
    torch.testing.assert_close(parts.objective, whole.objective, rtol=1e-7, atol=0)


@pytest.mark.parametrize(
    "order", [[2, 0, 1, 3], [1, 1, 1], [3]], ids=["permuted", "repeated", "one"]
)
def test_inputs_do_not_know_of_each_other(order: list[int]) -> None:
    x, y = sample(4, 60, 5)
    fit, changed = fit_logistic(x, y, 1.0), fit_logistic(x[order], y, 1.0)
    torch.testing.assert_close(changed.objective, fit.objective[order], rtol=1e-9, atol=0)
    torch.testing.assert_close(changed.weight, fit.weight[order], rtol=0, atol=1e-4)


@pytest.mark.parametrize("n", [12, 60], ids=["fewer rows than dimensions", "more"])
def test_rotating_the_inputs_rotates_the_weights(n: int) -> None:
    x, y = sample(n, 30)
    rotation = torch.linalg.qr(torch.randn(30, 30, generator=torch.Generator().manual_seed(2))).Q
    fit = fit_logistic(x, y, 0.2, n_classes=3, tolerance=1e-12)
    turned = fit_logistic(x @ rotation.double() + 3, y, 0.2, n_classes=3, tolerance=1e-12)
    torch.testing.assert_close(turned.objective, fit.objective, rtol=1e-6, atol=0)
    torch.testing.assert_close(rotation.double() @ turned.weight, fit.weight, rtol=0, atol=1e-5)


def test_weights_lie_in_the_span_of_the_rows() -> None:
    x, y = sample(10, 40)
    weight = fit_logistic(x, y, 0.1, n_classes=3).weight
    rows = x - x.mean(dim=0)
    torch.testing.assert_close(rows.T @ torch.linalg.pinv(rows.T) @ weight, weight)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_path_is_single_fits_in_the_order_asked_for(n_classes: int) -> None:
    x, y = sample(3, 50, 8, n_classes=n_classes, dtype=torch.float32)
    l2s = [1.0, 100.0, 0.01, 1.0]
    for l2, fit in zip(l2s, fit_path(x, y, l2s), strict=True):
        single = fit_logistic(x, y, l2)
        assert bool(fit.converged.all())
        torch.testing.assert_close(fit.objective, single.objective, rtol=1e-6, atol=0)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_class_without_rows_is_never_answered(missing: int) -> None:
    x, y = sample(60, 5, n_classes=2)
    others = torch.tensor([c for c in range(3) if c != missing])
    fit = fit_logistic(x, others[y], 0.5, n_classes=3, tolerance=1e-12)
    assert fit.bias[missing] == -torch.inf
    assert not fit.weight[:, missing].any()
    assert not fit.weight.isnan().any()
    assert fit.predict(x).unique().tolist() == others.tolist()
    # what is left is a softmax of two columns: a logistic regression with half the penalty
    two = fit_logistic(x, y, 0.25, tolerance=1e-12)
    torch.testing.assert_close(fit.objective, two.objective, rtol=1e-9, atol=0)


@pytest.mark.parametrize(("n_classes", "only"), [(2, 0), (2, 1), (3, 1)])
def test_a_single_class_is_always_answered(n_classes: int, only: int) -> None:
    x, _ = sample(20, 4)
    fit = fit_logistic(x, torch.full((20,), only), 1.0, n_classes=n_classes)
    assert fit.objective == 0
    assert bool(fit.converged)
    assert fit.predict(10 * x).unique().tolist() == [only]


@pytest.mark.parametrize("l2", [1e-4, 1e-2])
def test_separable_data(l2: float) -> None:
    x, y = sample(40, 60, dtype=torch.float32)
    fit = fit_logistic(x, y, l2, n_classes=3)
    assert bool(fit.converged)
    assert torch.equal(fit.predict(x), y)
    exact = fit_logistic(x.double(), y, l2, n_classes=3, tolerance=1e-13)
    torch.testing.assert_close(fit.objective, exact.objective, rtol=1e-6, atol=0)


@pytest.mark.parametrize("value", [0.0, 1234.5])
def test_constant_inputs_answer_with_the_class_frequencies(value: float) -> None:
    x, y = torch.full((40, 6), value), torch.tensor([0] * 10 + [1] * 10 + [2] * 20)
    fit = fit_logistic(x, y, 0.1)
    torch.testing.assert_close(
        (x @ fit.weight + fit.bias)[0].softmax(dim=-1), torch.tensor([0.25, 0.25, 0.5])
    )
    assert fit.predict(x).unique().tolist() == [2]


def test_a_large_common_mean_does_not_cost_precision() -> None:
    x, y = sample(200, 6, dtype=torch.float32)
    x = (x + 3000).to(torch.float32)
    exact = fit_logistic(x.double(), y, 1.0, tolerance=1e-13)
    near = fit_logistic(x, y, 1.0)
    torch.testing.assert_close(near.objective, exact.objective, rtol=1e-5, atol=0)


def test_half_precision_is_raised() -> None:
    x, y = sample(50, 6, dtype=torch.float32)
    half = x.to(torch.bfloat16)
    fit = fit_logistic(half, y, 1.0)
    assert fit.weight.dtype == torch.float32
    torch.testing.assert_close(fit.objective, fit_logistic(half.float(), y, 1.0).objective)
    assert fit.predict(half).shape == y.shape


def test_control_labels_are_read_at_chance_where_rows_are_many() -> None:
    x, _ = sample(3000, 10)
    y = torch.randint(4, (3000,), generator=torch.Generator().manual_seed(5))
    fit = fit_logistic(x[:2000], y[:2000], 1.0)
    held_out = (fit.predict(x[2000:]) == y[2000:]).double().mean().item()
    assert held_out == pytest.approx(0.25, abs=0.05)


def test_few_rows_in_many_dimensions_fit_any_labels() -> None:
    x, _ = sample(30, 60)
    y = torch.randint(4, (30,), generator=torch.Generator().manual_seed(5))
    assert torch.equal(fit_logistic(x, y, 1e-3, n_classes=4).predict(x), y)


X, Y = sample(12, 3)


@pytest.mark.parametrize(
    ("x", "y", "l2", "n_classes", "error", "message"),
    [
        (X, Y, 0.0, None, ConfigError, "l2 must be positive"),
        (X, Y, float("nan"), None, ConfigError, "l2 must be positive"),
        (X, Y * 0, 1.0, None, ConfigError, "two classes or more, not 1"),
        (X, Y, 1.0, 2, DataError, "outside 0 to 1"),
        (X, Y - 1, 1.0, 3, DataError, "outside 0 to 2"),
        (X[:0], Y[:0], 1.0, 3, DataError, "do not describe the same rows"),
        (X / 0, Y, 1.0, None, DataError, "not finite"),
    ],
)
def test_what_cannot_be_fitted_is_said(
    x: Tensor, y: Tensor, l2: float, n_classes: int | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fit_logistic(x, y, l2, n_classes=n_classes)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, Y[:-1], "do not describe the same rows"),
        (X.expand(2, -1, -1), Y.expand(3, -1), "do not broadcast"),
    ],
)
def test_shapes_that_do_not_fit_are_said_to_users_too(x: Tensor, y: Tensor, message: str) -> None:
    # below the public functions, whose shapes the tests' import hook would check before
    with pytest.raises(DataError, match=message):
        solve(x, y, [1.0], None, 3, Stop(1e-7, 100))
