"""The shape of one representation: how many dimensions it uses, and how it points."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth.errors import DataError
from taskdepth.similarity.centring import centred, meaningful, narrowed, thin_svd, undefined

MIN_EXAMPLES = 2


def dimensions_for_variance(x: Float[Tensor, "n p"], *, share: float = 0.99) -> Float[Tensor, ""]:
    """The fewest principal components that hold `share` of the variance: a whole number.

    At most n - 1: compare at equal n. NaN without variance.

    Raises:
        DataError: not a matrix of 2 rows or more, or a share that is not in (0, 1].

    >>> float(dimensions_for_variance(torch.tensor([[9.0, 0], [-9, 0], [0, 1], [0, -1]]), share=0.98))
    1.0
    """
    if not 0 < share <= 1:
        raise DataError(f"share must be above 0 and at most 1: it is {share}")
    x = centred(_matrix(x))
    if not meaningful(x):
        return undefined()
    _, scales, _ = thin_svd(narrowed(x))
    held = scales.square().cumsum(0)
    # all of it within rounding: components of exact zeros hold nothing
    wanted = share * held[-1] * (1 - len(held) * torch.finfo(held.dtype).eps)
    return (held < wanted).sum().to(torch.float64) + 1


def participation_ratio(x: Float[Tensor, "n p"]) -> Float[Tensor, ""]:
    """(Σ λ)² / Σ λ² of the covariance's eigenvalues: a soft count of dimensions, from 1 to n - 1.

    NaN without variance. Gao et al. 2017, doi:10.1101/214262.

    Raises:
        DataError: not a matrix of 2 rows or more.
    """
    x = centred(_matrix(x))
    if not meaningful(x):
        return undefined()
    product = x @ x.T if len(x) <= x.shape[1] else x.T @ x
    return product.trace().square() / product.square().sum()


def anisotropy(x: Float[Tensor, "n p"]) -> Float[Tensor, ""]:
    """The mean cosine between two distinct rows, as they are: from -1/(n - 1) to 1.

    NaN where a row is zero. Ethayarajh 2019, arXiv:1909.00512, section 3.

    Raises:
        DataError: not a matrix of 2 rows or more.

    >>> float(anisotropy(torch.tensor([[1.0, 0], [0, 2], [3, 0]])))  # one pair of three agrees
    0.3333333333333333
    """
    x = _matrix(x)
    n = len(x)
    unit: Tensor = x / x.norm(dim=1, keepdim=True)
    # all n² cosines at once, less the n of rows with themselves
    return (unit.sum(0).square().sum() - n) / (n * (n - 1))


def _matrix(x: Float[Tensor, "*shape_x"]) -> Float[Tensor, "n p"]:
    if x.ndim != 2 or len(x) < MIN_EXAMPLES:
        raise DataError(
            f"x must be a matrix of {MIN_EXAMPLES} rows or more, one per example: "
            f"its shape is {list(x.shape)}"
        )
    return x.to(torch.float64)
