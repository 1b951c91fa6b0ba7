from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from probe_problems import DEPTHS, problem
from taskdepth.errors import DataError
from taskdepth.probing.choice import choose
from taskdepth.probing.folds import assign_folds
from taskdepth.probing.probes import fit_probes


@pytest.mark.parametrize("k", [2, 5, 10])
def test_folds_are_stratified(k: int) -> None:
    y = torch.tensor([0] * 53 + [1] * 31 + [2] * 7)[torch.randperm(91)]
    fold = assign_folds(y, k, seed=0)
    for rows in (y >= 0, *(y == label for label in range(3))):
        counts = fold[rows].bincount(minlength=k)
        assert int(counts.max() - counts.min()) <= 1
    assert torch.equal(fold, assign_folds(y, k, seed=0))
    assert not torch.equal(fold, assign_folds(y, k, seed=1))


def test_fewer_rows_than_folds_are_refused() -> None:
    with pytest.raises(DataError, match="3 rows cannot be dealt into 5 folds"):
        assign_folds(torch.tensor([0, 1, 1]), 5, seed=0)


def test_k_folds_choose_as_sklearn_would_and_fit_all_rows() -> None:
    given, l2s, k = problem(), [1.0, 100.0, 10_000.0], 4
    found = choose(given, given.y[None], l2s, folds=k, seed=7)
    rows = (given.is_train | given.is_validation).nonzero()[:, 0]
    assert torch.equal(found.fitted_on, rows)
    fold = assign_folds(given.y[rows], k, seed=7).numpy()
    for depth in range(DEPTHS):
        scaler = StandardScaler().fit(given.x[depth][rows].numpy())
        x, y = scaler.transform(given.x[depth][rows].numpy()), given.y[rows].numpy()

        def model(l2: float) -> LogisticRegression:
            return LogisticRegression(C=1 / l2, tol=1e-8, max_iter=1000)

        def n_right(l2: float, out: np.ndarray) -> int:
            fit = model(l2).fit(x[~out], y[~out])  # noqa: B023
            return int((fit.predict(x[out]) == y[out]).sum())  # noqa: B023

        right = {l2: sum(n_right(l2, fold == i) for i in range(k)) for l2 in l2s}
        chosen = float(found.l2[0, depth])
        assert right[chosen] >= max(right.values()) - 0.01 * len(y)
        expected = model(chosen).fit(x, y).predict(scaler.transform(given.x[depth].numpy()))
        assert found.predict(given.x)[0, depth].tolist() == expected.tolist()


@pytest.mark.parametrize("folds", [None, 3])
def test_test_rows_are_not_touched(folds: int | None) -> None:
    given = problem()
    x, y = given.x.clone(), given.y.clone()
    x[:, given.is_test] = 1e6
    y[given.is_test] = 0
    expected = choose(given, given.y[None], [1.0, 10.0], folds)
    found = choose(problem(x=x, y=y), y[None], [1.0, 10.0], folds)
    assert torch.equal(found.fit.weight, expected.fit.weight)
    assert torch.equal(found.l2, expected.l2)


def test_folds_reach_what_the_validation_rows_reach() -> None:
    results = [
        fit_probes([problem()], l2s=[1.0, 10.0], seed=0, folds=folds, progress=False)[0]
        for folds in (None, 5)
    ]
    torch.testing.assert_close(results[0].accuracy[2:], results[1].accuracy[2:], atol=0.06, rtol=0)
    assert (results[1].control_task_accuracy < 0.5).all()
