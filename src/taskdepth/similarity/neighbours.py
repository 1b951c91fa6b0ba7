"""Mutual nearest neighbours: whether two models put the same examples next to each other."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from taskdepth.errors import DataError
from taskdepth.similarity.centring import checked, undefined

K = 10
ROUNDING = 1e-12  # inner products that differ by less than this share of the largest are equal


def mutual_knn(
    x: Float[Tensor, "n p"], y: Float[Tensor, "n q"], *, k: int = K, normalise: bool = False
) -> Float[Tensor, ""]:
    """The mean share of each example's k nearest others that both sides have in common; in [0, 1].

    Nearest is the largest inner product, with `normalise` the largest cosine. Invariant to
    orthogonal maps and isotropic scaling. For independent sides it is near k/(n - 1). NaN where all
    pairs of a side are equally near, or a row to be normalised is zero.

    Huh et al. 2024, arXiv:2405.07987, section 2 and appendix A.

    Raises:
        DataError: not two matrices with the same number of rows, fewer than k + 2 rows (with k + 1
            all others are neighbours), or k below 1.
    """
    if k < 1:
        raise DataError(f"k must be at least 1: it is {k}")
    x, y = checked(x, y, at_least=k + 2)
    near_x, near_y = _neighbours(x, k, normalise), _neighbours(y, k, normalise)
    if near_x is None or near_y is None:
        return undefined()
    return (near_x & near_y).sum() / torch.tensor(k * len(x), dtype=torch.float64)


def _neighbours(x: Float[Tensor, "n p"], k: int, normalise: bool) -> Bool[Tensor, "n n"] | None:
    """Which examples are among the k nearest of each; None where that is undefined."""
    if normalise:
        x = x / x.norm(dim=1, keepdim=True)
    alike = x @ x.T
    others = ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    lowest, highest = alike[others].aminmax()
    if not bool(highest - lowest > ROUNDING * alike.abs().max()):  # NaN comes here, too
        return None
    nearest = alike.masked_fill(~others, -torch.inf).topk(k, dim=1).indices
    return torch.zeros_like(others).scatter_(1, nearest, True)
