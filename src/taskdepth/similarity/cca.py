"""Canonical correlations: how much of one representation's space lies in the other's.

The canonical correlations of `x` and `y` are the cosines of the principal angles between the spaces
that their columns span in the n examples' coordinates. A side of rank n - 1 spans everything that
centring leaves, and every correlation is then 1 whatever the other side holds. These measures are
NaN there, as they are where a side has no variance. They need many more examples than dimensions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth.similarity.centring import checked, meaningful, prepared, thin_svd, undefined

VARIANCE_SHARE = 0.99  # what SVCCA keeps of each side, as its paper does
MIN_EXAMPLES = 3  # with two, one dimension is already everything


def mean_squared_cca(
    x: Float[Tensor, "n p"], y: Float[Tensor, "n q"], *, centre: bool = True
) -> Float[Tensor, ""]:
    """The mean of the squared canonical correlations, in [0, 1]; over the smaller side's rank.

    Invariant to every invertible linear map and, with `centre`, to translation of either side. For
    independent full-rank sides it is near max(p, q)/(n - 1), not 0.

    Kornblith et al. 2019, arXiv:1905.00414, section 3 (R² of CCA); their notebook does not centre.

    Raises:
        DataError: not two matrices with the same number of rows, or fewer than 3 rows.
    """
    x, y = (prepared if centre else checked)(x, y, MIN_EXAMPLES)
    if not meaningful(x, y):
        return undefined()
    basis_x, basis_y = _basis(x), _basis(y)
    if _spans_everything(basis_x, basis_y, len(x) - centre):
        return undefined()
    return (basis_x.T @ basis_y).square().sum() / min(basis_x.shape[1], basis_y.shape[1])


def svcca(
    x: Float[Tensor, "n p"], y: Float[Tensor, "n q"], *, share: float = VARIANCE_SHARE
) -> Float[Tensor, ""]:
    """The mean canonical correlation of the top dimensions that hold `share` of each variance.

    In [0, 1]. Invariant to orthogonal maps, isotropic scaling and translation of either side.

    Raghu et al. 2017, arXiv:1706.05806, section 2.

    Raises:
        DataError: not two matrices with the same number of rows, or fewer than 3 rows.
    """
    x, y = prepared(x, y, MIN_EXAMPLES)
    if not meaningful(x, y):
        return undefined()
    basis_x, basis_y = _basis(x, share), _basis(y, share)
    if _spans_everything(basis_x, basis_y, len(x) - 1):
        return undefined()
    _, correlations, _ = thin_svd(basis_x.T @ basis_y)
    return correlations.clamp(max=1).mean()


def pwcca(x: Float[Tensor, "n p"], y: Float[Tensor, "n q"]) -> Float[Tensor, ""]:
    """The canonical correlations' mean, weighted by how much of the columns of `x` each explains.

    In [0, 1]; not symmetric: the weights are those of `x`. Invariant to isotropic scaling and
    translation, and to invertible linear maps of `y`. Not even to orthogonal maps of `x`: the
    weights sum absolute values over its columns.

    Morcos et al. 2018, arXiv:1806.05759, section 3.

    Raises:
        DataError: not two matrices with the same number of rows, or fewer than 3 rows.
    """
    x, y = prepared(x, y, MIN_EXAMPLES)
    if not meaningful(x, y):
        return undefined()
    basis_x, basis_y = _basis(x), _basis(y)
    if _spans_everything(basis_x, basis_y, len(x) - 1):
        return undefined()
    turn, correlations, _ = thin_svd(basis_x.T @ basis_y)
    weights = ((basis_x @ turn).T @ x).abs().sum(dim=1)
    return (weights * correlations.clamp(max=1)).sum() / weights.sum()


def _basis(x: Float[Tensor, "n p"], share: float = 1.0) -> Float[Tensor, "n r"]:
    """Orthonormal columns: the fewest leading principal ones that hold `share` of the variance."""
    basis, scales, _ = thin_svd(x)
    rank = int((scales > scales[0] * max(x.shape) * torch.finfo(x.dtype).eps).sum())
    held = scales.square().cumsum(0)
    return basis[:, : min(rank, int((held < share * held[-1]).sum()) + 1)]


def _spans_everything(
    basis_x: Float[Tensor, "n r"], basis_y: Float[Tensor, "n s"], n_directions: int
) -> bool:
    return max(basis_x.shape[1], basis_y.shape[1]) >= n_directions
