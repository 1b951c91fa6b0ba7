"""Two representations as the measures take them: float64, the same examples, centred.

Row i of `x` and row i of `y` describe the same example. All measures are computed in float64 and
returned as a float64 scalar. Undefined is NaN, never 0: a side whose rows are all the same has no
similarity to anything. Non-finite input gives NaN, too.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth.errors import DataError


def checked(
    x: Float[Tensor, "*shape_x"], y: Float[Tensor, "*shape_y"], at_least: int
) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n q"]]:
    """Both sides in float64.

    Raises:
        DataError: not two matrices with the same number of rows, or fewer than `at_least` rows.
    """
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise DataError(
            "x and y must be matrices with one row per example, the same examples in both: "
            f"their shapes are {list(x.shape)} and {list(y.shape)}"
        )
    if len(x) < at_least:
        raise DataError(f"{len(x)} examples are too few: this measure needs {at_least}")
    return x.to(torch.float64), y.to(torch.float64)


def prepared(
    x: Float[Tensor, "*shape_x"], y: Float[Tensor, "*shape_y"], at_least: int
) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n q"]]:
    """Both sides `checked` and `centred`."""
    x, y = checked(x, y, at_least)
    return centred(x), centred(y)


def centred(x: Float[Tensor, "*batch n p"]) -> Float[Tensor, "*batch n p"]:
    """`x` in float64, its mean row removed.

    The first row is removed before the mean: identical rows become exact zeros, and an offset far
    larger than the spread costs the mean no digits.
    """
    x = x.to(torch.float64)
    x = x - x[..., :1, :]
    return x - x.mean(dim=-2, keepdim=True)


def standardised(x: Float[Tensor, "*batch n p"]) -> Float[Tensor, "*batch n p"]:
    """`x` in float64 with every dimension of mean 0 and variance 1; without variance it is 0.

    A few dimensions of many times the usual size decide CKA otherwise. Timkey & van Schijndel 2021,
    arXiv:2109.04404, section 5.
    """
    x = centred(x)
    spread = x.std(dim=-2, correction=0, keepdim=True)
    return x / torch.where(spread > 0, spread, 1)


def narrowed(x: Float[Tensor, "n p"]) -> Float[Tensor, "n r"]:
    """`x` up to an orthogonal map, at most n wide: all its rows' inner products stay the same."""
    if x.shape[1] <= len(x):
        return x
    factor: Tensor = torch.linalg.qr(x.T, mode="r").R
    return factor.T


def thin_svd(
    x: Float[Tensor, "n p"],
) -> tuple[Float[Tensor, "n r"], Float[Tensor, " r"], Float[Tensor, "r p"]]:
    """`u`, `s`, `vᵀ` of `x` = u·diag(s)·vᵀ with r = min(n, p), the largest of `s` first."""
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    return u, s, vt


def meaningful(*sides: Float[Tensor, "n _"]) -> bool:
    """Whether every side is finite and not zero throughout: centred, it has some variance."""
    return all(bool(side.isfinite().all()) and bool(side.any()) for side in sides)


def undefined() -> Float[Tensor, ""]:
    return torch.tensor(torch.nan, dtype=torch.float64)
