from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor

from taskdepth.probing.scores import (
    auroc,
    calibration_error,
    log_probabilities,
    macro_f1,
    scored,
)
from taskdepth.probing.solver import fit_logistic


def predictions(n_classes: int, n: int = 300, signal: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n_classes)
    y = torch.randint(n_classes, (n,), generator=generator)
    logits = torch.randn(n, n_classes, generator=generator, dtype=torch.float64)
    logits[torch.arange(n), y] += signal
    return logits.softmax(dim=-1), y


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_macro_f1_and_auroc_are_sklearns(n_classes: int) -> None:
    p, y = predictions(n_classes)
    expected_f1 = f1_score(y.numpy(), p.argmax(dim=-1).numpy(), average="macro")
    assert macro_f1(p, y) == pytest.approx(expected_f1, abs=1e-6)
    given = p[:, 1].numpy() if n_classes == 2 else p.numpy()
    expected = roc_auc_score(y.numpy(), given, multi_class="ovr", average="macro")
    assert auroc(p, y) == pytest.approx(expected, abs=1e-6)


def test_auroc_is_undefined_where_a_class_is_missing() -> None:
    p, y = predictions(3)
    assert math.isnan(auroc(p[y != 1], y[y != 1]))
    assert 0 < macro_f1(p[y != 1], y[y != 1]) < 1


def test_shuffled_labels_are_at_chance() -> None:
    p, y = predictions(3, n=6000, signal=3.0)
    shuffled = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]
    assert auroc(p, shuffled) == pytest.approx(0.5, abs=0.03)


def test_names_of_classes_do_not_matter() -> None:
    p, y = predictions(4)
    order = torch.tensor([2, 0, 3, 1])
    before = scored(["macro_f1", "auroc", "calibration_error"], p[None], y)
    after = scored(
        ["macro_f1", "auroc", "calibration_error"], p[None][..., order.argsort()], order[y]
    )
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("right", "expected"), [(8, 0.0), (4, 0.4), (10, 0.2)])
def test_calibration_error_by_hand(right: int, expected: float) -> None:
    """Ten answers of confidence 0.8."""
    p = torch.tensor([[0.8, 0.2]]).repeat(10, 1)
    y = (torch.arange(10) >= right).long()
    assert calibration_error(p, y) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_log_probabilities_are_those_of_the_fit(n_classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 50, 4, generator=generator)
    y = torch.randint(n_classes, (50,), generator=generator)
    fit = fit_logistic(x, y, 1.0, n_classes=n_classes)
    log_p = log_probabilities(fit, x)
    assert log_p.shape == (2, 50, n_classes)
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(2, 50, dtype=torch.float64))
    assert torch.equal(log_p.argmax(dim=-1), fit.predict(x))
    loss = -log_p.gather(-1, y.expand(2, -1)[..., None]).sum(dim=(1, 2))
    penalty = fit.weight.double().square().sum(dim=(1, 2)) / 2
    np.testing.assert_allclose(loss + penalty, fit.objective, rtol=1e-5)


def test_a_class_without_training_rows_has_no_probability() -> None:
    x = torch.randn(1, 30, 2, generator=torch.Generator().manual_seed(0))
    fit = fit_logistic(x, torch.arange(30) % 2, 1.0, n_classes=3)
    assert torch.equal(log_probabilities(fit, x)[..., 2], torch.full((1, 30), -torch.inf).double())
