"""Subspaces and the principal angles between them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth.errors import DataError
from taskdepth.similarity.centring import meaningful, narrowed, prepared, thin_svd, undefined

K = 10
ROUNDING = 1e-12  # singular values that differ by less than this share of the largest are equal


def subspace_overlap(
    x: Float[Tensor, "n p"], y: Float[Tensor, "n q"], *, k: int = K
) -> Float[Tensor, ""]:
    """The mean squared cosine of the principal angles between the top-k subspaces; in [0, 1].

    A side's subspace is spanned by the scores of the n examples on its k leading principal
    components. Invariant to orthogonal maps, isotropic scaling and translation of either side. For
    independent sides it is near k/(n - 1). NaN where a side has fewer than k dimensions, or its
    k-th and next component tie: then the subspace is not determined.

    Björck & Golub 1973, Math. Comp. 27, section 2.

    Raises:
        DataError: not two matrices with the same number of rows, fewer than k + 2 rows (k + 1
            leave no other direction), or k below 1.
    """
    if k < 1:
        raise DataError(f"k must be at least 1: it is {k}")
    x, y = prepared(x, y, at_least=k + 2)
    if not meaningful(x, y):
        return undefined()
    leading_x, leading_y = _leading(x, k), _leading(y, k)
    if leading_x is None or leading_y is None:
        return undefined()
    return (leading_x.T @ leading_y).square().sum() / k


def principal_angles(a: Float[Tensor, "d k"], b: Float[Tensor, "d l"]) -> Float[Tensor, " smaller"]:
    """Angles between the column spaces, ascending, in [0, π/2]; as many as the smaller has columns.

    The columns of each must be linearly independent. Björck & Golub 1973, Math. Comp. 27: small
    angles come from their sines, large ones from their cosines, so that neither loses digits.

    >>> torch.rad2deg(principal_angles(torch.eye(3)[:, :2], torch.eye(3)[:, 1:])).tolist()
    [0.0, 90.0]
    """
    if b.shape[1] > a.shape[1]:
        a, b = b, a
    basis_a, basis_b = (torch.linalg.qr(side.to(torch.float64)).Q for side in (a, b))
    within = basis_a.T @ basis_b
    cosines = torch.linalg.svdvals(within)
    sines = torch.linalg.svdvals(basis_b - basis_a @ within).flip(0)
    return torch.where(
        cosines.square() > 0.5, sines.clamp(max=1).arcsin(), cosines.clamp(max=1).arccos()
    )


def _leading(x: Float[Tensor, "n p"], k: int) -> Float[Tensor, "n k"] | None:
    """Orthonormal scores on the k leading components; None where these are not determined."""
    u, s, _ = thin_svd(narrowed(x))
    if len(s) < k:
        return None
    following = s[k] if len(s) > k else s.new_zeros(())
    return u[:, :k] if bool(s[k - 1] - following > ROUNDING * s[0]) else None
