"""Orthogonal Procrustes: how well a rotation carries one representation over to the other."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from taskdepth.similarity.centring import meaningful, narrowed, prepared, thin_svd, undefined

MIN_EXAMPLES = 2


def procrustes(x: Float[Tensor, "n p"], y: Float[Tensor, "n q"]) -> Float[Tensor, ""]:
    """The angle that is left after the best orthogonal map: a metric, in [0, π/2]; 0 is equal.

    The arc cosine of `procrustes_cosine`, and as invariant. Angles below 1e-7 are rounding.

    Williams et al. 2021, arXiv:2110.14739, section 2.

    Raises:
        DataError: not two matrices with the same number of rows, or fewer than 2 rows.
    """
    return _cosine(x, y).arccos()


def procrustes_cosine(x: Float[Tensor, "n p"], y: Float[Tensor, "n q"]) -> Float[Tensor, ""]:
    """The nuclear norm of xᵀy, both sides centred and of unit Frobenius norm; in [0, 1].

    Invariant to orthogonal maps, isotropic scaling and translation of either side. NaN where a side
    has no variance.

    Williams et al. 2021, arXiv:2110.14739, section 2.

    Raises:
        DataError: not two matrices with the same number of rows, or fewer than 2 rows.

    >>> import torch
    >>> x = torch.arange(12.0).reshape(4, 3) ** 2
    >>> round(float(procrustes_cosine(x, 5 - 2 * x.flip(1))), 6)
    1.0
    """
    return _cosine(x, y)


def _cosine(x: Float[Tensor, "*shape_x"], y: Float[Tensor, "*shape_y"]) -> Float[Tensor, ""]:
    x, y = prepared(x, y, MIN_EXAMPLES)
    if not meaningful(x, y):
        return undefined()
    x, y = narrowed(x / x.norm()), narrowed(y / y.norm())
    _, cosines, _ = thin_svd(x.T @ y)
    return cosines.sum().clamp(max=1)
