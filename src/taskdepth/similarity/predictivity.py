"""Ridge predictivity: how much of one representation can be read linearly from the other."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth.errors import DataError
from taskdepth.similarity.centring import meaningful, narrowed, prepared, thin_svd, undefined

N_FOLDS = 5
# L2 penalties, in units of the mean squared norm of a centred training row
PENALTIES = tuple(10.0**exponent for exponent in range(-6, 3))


def ridge_predictivity(
    x: Float[Tensor, "n p"], y: Float[Tensor, "n q"], *, n_folds: int = N_FOLDS
) -> Float[Tensor, ""]:
    """Cross-validated R² of predicting `y` from `x` by ridge regression; at most 1, can be negative.

    Fold i holds the rows i, i + n_folds, …; R² is one minus the squared error over that of the mean
    of the training rows, both summed over all rows and columns. Each fold takes the penalty with the
    least leave-one-out error on its training rows, exact by one SVD. Not symmetric. Invariant to
    orthogonal maps, isotropic scaling and translation of either side. NaN where a side has no
    variance.

    Leave-one-out: Golub, Heath & Wahba 1979, Technometrics 21, section 1.

    Raises:
        DataError: not two matrices with the same number of rows, fewer than 2 folds, or fewer rows
            than 4 or than folds.
    """
    if n_folds < 2:
        raise DataError(f"cross-validation needs 2 folds or more: n_folds is {n_folds}")
    x, y = prepared(x, y, at_least=max(4, n_folds))
    if not meaningful(x, y):
        return undefined()
    x, y = narrowed(x), narrowed(y)
    fold = torch.arange(len(x), device=x.device) % n_folds
    error = spread = x.new_zeros(())
    for i in range(n_folds):
        train, test = fold != i, fold == i
        mean_x, mean_y = x[train].mean(0), y[train].mean(0)
        wanted = y[test] - mean_y
        weight = _ridge(x[train] - mean_x, y[train] - mean_y)
        error = error + (wanted - (x[test] - mean_x) @ weight).square().sum()
        spread = spread + wanted.square().sum()
    return 1 - error / spread


def _ridge(x: Float[Tensor, "m p"], y: Float[Tensor, "m q"]) -> Float[Tensor, "p q"]:
    """The weights of the penalty with the least leave-one-out error; `x` and `y` are centred."""
    u, s, vt = thin_svd(x)
    kept = s > s[0] * max(x.shape) * torch.finfo(s.dtype).eps
    u, s, vt = u[:, kept], s[kept], vt[kept]
    projected = u.T @ y
    errors, weights = [], []
    for penalty in PENALTIES:
        shrunk = s / (s.square() + penalty * s.square().sum() / len(x))
        # the mean is fitted, too: it adds 1/m to every row's leverage
        leverage = u.square() @ (shrunk * s) + 1 / len(x)
        left = y - u @ ((shrunk * s)[:, None] * projected)
        errors.append((left / (1 - leverage)[:, None]).square().sum())
        weights.append(shrunk)
    best = weights[int(torch.stack(errors).argmin())]
    return vt.T @ (best[:, None] * projected)
