"""The shape of one representation: how many dimensions it uses, and how it points."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth.errors import DataError
from taskdepth.similarity.centring import centred, meaningful, undefined

MIN_EXAMPLES = 2
SHARE = 0.99
ROUNDING = 8  # times the size and precision of a symmetric matrix is what its eigenvalues are off
N_TOP = 3  # the dimensions of extreme size are one to three in most models


@dataclass(frozen=True, slots=True)
class Geometry:
    """What the functions of this module say of one representation; NaN where undefined."""

    dimensions_for_variance: float
    participation_ratio: float
    anisotropy: float
    top_dimensions_share: float


def geometry_of(x: Float[Tensor, "n p"]) -> Geometry:
    """All of this module at the price of one: `x` is centred and multiplied with itself once.

    Raises:
        DataError: not a matrix of 2 rows or more.
    """
    x = _matrix(x)
    pointing = float(anisotropy(x))
    x = centred(x)
    if not meaningful(x):
        return Geometry(nan, nan, pointing, nan)
    product = _product(x)
    return Geometry(
        float(_dimensions(product, SHARE)),
        float(_participation(product)),
        pointing,
        float(_top_share(x, N_TOP)),
    )


def dimensions_for_variance(x: Float[Tensor, "n p"], *, share: float = SHARE) -> Float[Tensor, ""]:
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
    return _dimensions(_product(x), share)


def participation_ratio(x: Float[Tensor, "n p"]) -> Float[Tensor, ""]:
    """(Σ λ)² / Σ λ² of the covariance's eigenvalues: a soft count of dimensions, from 1 to n - 1.

    NaN without variance. Gao et al. 2017, doi:10.1101/214262.

    Raises:
        DataError: not a matrix of 2 rows or more.
    """
    x = centred(_matrix(x))
    if not meaningful(x):
        return undefined()
    return _participation(_product(x))


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


def top_dimensions_share(x: Float[Tensor, "n p"], *, n_top: int = N_TOP) -> Float[Tensor, ""]:
    """The share of the variance that the `n_top` dimensions (columns) of most variance hold; to 1.

    Where it is high, CKA tells of these dimensions and of little else: look at its standardised
    variant. NaN without variance. Timkey & van Schijndel 2021, arXiv:2109.04404, section 4.

    Raises:
        DataError: not a matrix of 2 rows or more, or `n_top` below 1.

    >>> float(top_dimensions_share(torch.tensor([[3.0, 0, 1], [-3, 0, -1]]), n_top=1))
    0.9
    """
    if n_top < 1:
        raise DataError(f"n_top must be at least 1: it is {n_top}")
    x = centred(_matrix(x))
    if not meaningful(x):
        return undefined()
    return _top_share(x, n_top)


def _product(x: Float[Tensor, "n p"]) -> Float[Tensor, "m m"]:
    """The smaller of both products with itself; it has all eigenvalues that are not 0."""
    return x @ x.T if len(x) <= x.shape[1] else x.T @ x


def _dimensions(product: Float[Tensor, "m m"], share: float) -> Float[Tensor, ""]:
    held = torch.linalg.eigvalsh(product).flip(0).clamp(min=0).cumsum(0)
    # all of it within rounding: components of exact zeros hold nothing
    wanted = share * held[-1] * (1 - ROUNDING * len(held) * torch.finfo(held.dtype).eps)
    n_short: Tensor = (held < wanted).sum()
    return n_short.to(torch.float64) + 1


def _participation(product: Float[Tensor, "m m"]) -> Float[Tensor, ""]:
    return product.trace().square() / product.square().sum()


def _top_share(centred_x: Float[Tensor, "n p"], n_top: int) -> Float[Tensor, ""]:
    variances = centred_x.square().sum(0).sort(descending=True).values
    return variances[:n_top].sum() / variances.sum()


def _matrix(x: Float[Tensor, "*shape_x"]) -> Float[Tensor, "n p"]:
    if x.ndim != 2 or len(x) < MIN_EXAMPLES:
        raise DataError(
            f"x must be a matrix of {MIN_EXAMPLES} rows or more, one per example: "
            f"its shape is {list(x.shape)}"
        )
    return x.to(torch.float64)
