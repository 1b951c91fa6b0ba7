"""Centred kernel alignment (CKA): how alike two models find the same pairs of examples."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth.similarity.centring import prepared

MIN_EXAMPLES = 4  # unbiased HSIC divides by n - 3

BANDWIDTH = 0.5  # of the RBF kernel, in median distances

# why CKA is undefined
TOO_FEW = f"fewer than {MIN_EXAMPLES} examples"
NO_VARIANCE = "zero variance: every row is the same"
NO_STRUCTURE = "debiased only: every two rows are equally far apart"
COPIES = "at least half of the pairs of rows are copies"

# Unbiased HSIC is a difference of sums; below this share of them it is rounding
ROUNDING = 1e-12


def linear_cka(x: Float[Tensor, "n p"], y: Float[Tensor, "n q"]) -> Float[Tensor, ""]:
    """Linear CKA with the biased HSIC estimator, in [0, 1]; also known as the RV coefficient.

    Invariant to orthogonal maps, isotropic scaling and translation of either side. For independent
    data it is not 0 but near γ/(γ + n - 1), γ = (tr Σ)²/tr Σ², which is close to 1 where γ exceeds
    n: prefer `debiased_cka`.

    Kornblith et al. 2019, arXiv:1905.00414, section 3.

    Raises:
        DataError: not two matrices with the same number of rows, or fewer than 2 rows.

    >>> x = torch.arange(12.0).reshape(4, 3) ** 2
    >>> round(float(linear_cka(x, 5 - 2 * x)), 6)
    1.0
    """
    x, y = prepared(x, y, at_least=2)
    xy, xx, yy = _squared_products(x, y)
    return xy / (xx.sqrt() * yy.sqrt())


def debiased_cka(x: Float[Tensor, "n p"], y: Float[Tensor, "n q"]) -> Float[Tensor, ""]:
    """Linear CKA with the unbiased HSIC estimator: near 0 for independent `x`, `y`; in [-1, 1].

    Same invariances as `linear_cka`. Slightly negative values are ordinary. NaN also where every
    two rows of a side are equally far apart: they leave no structure to compare.

    Kornblith et al. 2019, arXiv:1905.00414; unbiased HSIC: Song et al. 2012, JMLR 13, section 2.

    Raises:
        DataError: not two matrices with the same number of rows, or fewer than 4 rows.

    >>> x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    >>> q = torch.linalg.qr(torch.arange(64.0).reshape(8, 8).cos()).Q
    >>> round(float(debiased_cka(x, 3 * x @ q + 7)), 6)
    1.0
    """
    x, y = prepared(x, y, MIN_EXAMPLES)
    xy, xx, yy = _squared_products(x, y)
    norms_x, norms_y = x.square().sum(1), y.square().sum(1)
    hsic_xx = positive_or_nan(unbiased_hsic(xx, norms_x, norms_x), xx)
    hsic_yy = positive_or_nan(unbiased_hsic(yy, norms_y, norms_y), yy)
    return unbiased_hsic(xy, norms_x, norms_y) / (hsic_xx.sqrt() * hsic_yy.sqrt())


def rbf_cka(
    x: Float[Tensor, "n p"], y: Float[Tensor, "n q"], bandwidth: float = BANDWIDTH
) -> Float[Tensor, ""]:
    """CKA with a Gaussian kernel and the biased HSIC estimator, in [0, 1].

    The kernel is exp(-d² / (2·bandwidth²·m)), with m the median of all n² squared distances of
    that side, the zeros of the diagonal included. Same invariances as `linear_cka`. NaN also where
    m is 0: at least half of the pairs are copies.

    Kornblith et al. 2019, arXiv:1905.00414, section 3.

    Raises:
        DataError: not two matrices with the same number of rows, or fewer than 2 rows.
    """
    x, y = prepared(x, y, at_least=2)
    kernel_x, kernel_y = centred_rbf_kernel(x, bandwidth), centred_rbf_kernel(y, bandwidth)
    scale = kernel_x.square().sum().sqrt() * kernel_y.square().sum().sqrt()
    return (kernel_x * kernel_y).sum() / scale


def centred_rbf_kernel(
    x: Float[Tensor, "n p"], bandwidth: float = BANDWIDTH
) -> Float[Tensor, "n n"]:
    """The kernel of `rbf_cka` for one side, its rows and columns centred."""
    norms = x.square().sum(1)
    distance = (norms[:, None] + norms - 2 * x @ x.T).clamp(min=0).fill_diagonal_(0)
    ordered = distance.flatten().sort().values
    middle = len(ordered) // 2
    median = (ordered[middle] + ordered[-middle - 1]) / 2  # torch.median is the lower of the two
    kernel: Tensor = torch.exp(-distance / (2 * bandwidth**2 * median))
    return kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()


def unbiased_hsic(
    squared_product: Float[Tensor, "*batch"],
    norms_x: Float[Tensor, "*batch n"],
    norms_y: Float[Tensor, "*batch n"],
) -> Float[Tensor, "*batch"]:
    """n(n - 3) times the unbiased HSIC of the linear kernels of centred `x` and `y`.

    `squared_product` is ‖xᵀy‖², the norms are the squared norms of the rows. The rows of a centred
    Gram matrix sum to 0, so without its diagonal they sum to minus the diagonal: of the terms of
    Song et al. 2012, JMLR 13, section 2, only the first needs more than the diagonals.
    """
    of_diagonals = biased_part(
        norms_x.shape[-1], (norms_x * norms_y).sum(-1), norms_x.sum(-1), norms_y.sum(-1)
    )
    return squared_product - of_diagonals


def biased_part(
    n: int,
    products: Float[Tensor, "*batch"],
    totals_x: Float[Tensor, "*#batch"],
    totals_y: Float[Tensor, "*#batch"],
) -> Float[Tensor, "*batch"]:
    """What ‖xᵀy‖² has beyond `unbiased_hsic`, from the sums of the norms and of their products."""
    return n / (n - 2) * products - totals_x * totals_y / ((n - 1) * (n - 2))


def positive_or_nan(
    hsic: Float[Tensor, "*batch"], squared_product: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """The unbiased HSIC of a side with itself, NaN where nothing but rounding is left of it."""
    return torch.where(hsic > ROUNDING * squared_product, hsic, torch.nan)


def reasons_undefined(
    linear: Float[Tensor, " m"], debiased: Float[Tensor, " m"]
) -> tuple[str, ...]:
    """For each pair of values why they are NaN; "" where they are not."""
    return tuple(
        NO_VARIANCE if no_variance else NO_STRUCTURE if no_structure else ""
        for no_variance, no_structure in zip(
            linear.isnan().tolist(), debiased.isnan().tolist(), strict=True
        )
    )


def _squared_products(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """‖xᵀy‖², ‖xᵀx‖² and ‖yᵀy‖²: by features, or as Σ_ij (xxᵀ)_ij (yyᵀ)_ij where n is smaller."""
    if len(x) <= max(x.shape[1], y.shape[1]):
        gram_x, gram_y = x @ x.T, y @ y.T
        return (gram_x * gram_y).sum(), gram_x.square().sum(), gram_y.square().sum()
    return (x.T @ y).square().sum(), (x.T @ x).square().sum(), (y.T @ y).square().sum()
