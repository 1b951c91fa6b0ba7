"""Ridge predictivity against scikit-learn's RidgeCV, fold by fold."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV

from taskdepth.errors import DataError
from taskdepth.similarity import ridge_predictivity
from taskdepth.similarity.predictivity import PENALTIES


def sides(n, p, q, noise=0.5, seed=0):
    state = np.random.RandomState(seed)
    x = state.randn(n, p) @ np.diag(np.logspace(0, -1, p)) + 2
    return x, x @ state.randn(p, q) + noise * state.randn(n, q) - 1


def by_sklearn(x, y, n_folds):
    fold = np.arange(len(x)) % n_folds
    error = spread = 0.0
    for i in range(n_folds):
        train, test = fold != i, fold == i
        unit = ((x[train] - x[train].mean(0)) ** 2).sum(1).mean()
        model = RidgeCV(alphas=[unit * penalty for penalty in PENALTIES]).fit(x[train], y[train])
        error += ((y[test] - model.predict(x[test]).reshape(y[test].shape)) ** 2).sum()
        spread += ((y[test] - y[train].mean(0)) ** 2).sum()
    return 1 - error / spread


@pytest.mark.parametrize("n_folds", [2, 5])
@pytest.mark.parametrize(
    ("n", "p", "q", "noise"), [(60, 8, 3, 0.5), (40, 8, 50, 3.0), (20, 60, 4, 0.5), (25, 4, 1, 9.0)]
)
def test_equals_sklearn(n, p, q, noise, n_folds):
    x, y = sides(n, p, q, noise)
    found = ridge_predictivity(torch.from_numpy(x), torch.from_numpy(y), n_folds=n_folds)
    assert float(found) == pytest.approx(by_sklearn(x, y, n_folds), rel=1e-6)


def test_what_is_there_is_found_and_what_is_not_is_not():
    x, y = (torch.from_numpy(side) for side in sides(60, 6, 4, noise=0))
    assert float(ridge_predictivity(x, y)) > 0.999
    noise = torch.from_numpy(np.random.RandomState(3).randn(60, 4))
    assert -0.3 < float(ridge_predictivity(x, noise)) < 0.05


def test_directions_that_only_the_test_rows_use_are_left_out():
    """Row 0 is alone in its dimension: no fold can learn from it and predict with it."""
    x, y = (torch.from_numpy(side) for side in sides(30, 3, 2))
    marker = torch.zeros(30, 1, dtype=x.dtype)
    marker[0] = 1e-3
    assert ridge_predictivity(torch.cat([x, marker], dim=1), y).isfinite()
    assert ridge_predictivity(marker, y).isfinite()


@pytest.mark.parametrize(
    ("n", "n_folds", "words"), [(4, 5, "needs 5"), (3, 2, "needs 4"), (9, 1, "2 folds")]
)
def test_refuses(n, n_folds, words):
    with pytest.raises(DataError, match=words):
        ridge_predictivity(torch.randn(n, 2), torch.randn(n, 2), n_folds=n_folds)
