"""What one example does to CKA: its value without each example in turn, from the Gram matrices of all."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth.similarity.cka import MIN_EXAMPLES, biased_part, positive_or_nan, unbiased_hsic

# Where less than this share of a side's variance is left, too many digits have cancelled: such a
# Gram matrix is centred anew
MIN_SHARE_LEFT = 1e-6
# and below this one there is nothing but the rounding of the Gram matrix
NOTHING_LEFT = 1e-26


def leave_one_out_cka(
    gram_x: Float[Tensor, "n_depths n n"], gram_y: Float[Tensor, "n_depths n n"]
) -> tuple[Float[Tensor, "n_depths n"], Float[Tensor, "n_depths n"]]:
    """Linear and debiased CKA of the other n - 1 examples, for each example that may be missing.

    From centred Gram matrices, in O(n²) for all examples: the rows of K sum to 0, so without example
    i they sum to -K_ji, and all of it to K_ii. Centring anew takes (1/m)(r_j + r_k) - (1/m²) Σ r off
    each entry, m = n - 1. Every sum that CKA needs is then one over all pairs, less row sums of K∘L,
    and products of the Gram matrices with the other side's diagonal. NaN where nothing but the
    missing example has variance; debiased CKA also with fewer than 5 examples.
    """
    xy, xx, yy = (
        _without_each(a, b) for a, b in ((gram_x, gram_y), (gram_x, gram_x), (gram_y, gram_y))
    )
    linear, debiased = _ratios(xy, xx, yy)
    wholes = [gram.square().sum((-2, -1))[:, None] for gram in (gram_x, gram_y)]
    weak = (xx[0] < MIN_SHARE_LEFT * wholes[0]) | (yy[0] < MIN_SHARE_LEFT * wholes[1])
    for depth, index in weak.nonzero().tolist():
        one, other = (
            _without(gram[depth], index, whole[depth])
            for gram, whole in zip((gram_x, gram_y), wholes, strict=True)
        )
        parts = (_whole(a, b) for a, b in ((one, other), (one, one), (other, other)))
        linear[depth, index], debiased[depth, index] = _ratios(*parts)
    if gram_x.shape[-1] - 1 < MIN_EXAMPLES:
        debiased = torch.full_like(debiased, torch.nan)
    return linear, debiased


def _without_each(k: Tensor, l: Tensor) -> tuple[Tensor, Tensor]:  # noqa: E741
    """Σ_jk K_jk L_jk of the Gram matrices without example i, centred anew, and its `unbiased_hsic`."""
    n = k.shape[-1]
    m = n - 1
    of_k, of_l = k.diagonal(dim1=-2, dim2=-1), l.diagonal(dim1=-2, dim2=-1)
    own = of_k * of_l
    product = k * l
    rows = product.sum(-1)
    squared = product.sum((-2, -1))[:, None] - 2 * rows + own - 2 * (rows - own) / m + own / m**2
    # the new diagonals are K_jj + (2/m) K_ji + K_ii/m²
    total_k, total_l = of_k.sum(-1, keepdim=True), of_l.sum(-1, keepdim=True)
    k_on_l, l_on_k = (k @ of_l[..., None])[..., 0], (l @ of_k[..., None])[..., 0]
    diagonals = (
        own.sum(-1, keepdim=True)
        - own
        + 2 / m * (k_on_l + l_on_k - 2 * own)
        + (of_k * (total_l - of_l) + of_l * (total_k - of_k)) / m**2
        + 4 / m**2 * (rows - own)
        - 4 / m**3 * own
        + own / m**3
    )
    new_total_k, new_total_l = (
        total - of - 2 / m * of + of / m for total, of in ((total_k, of_k), (total_l, of_l))
    )
    return squared, squared - biased_part(m, diagonals, new_total_k, new_total_l)


def _ratios(
    xy: tuple[Tensor, Tensor], xx: tuple[Tensor, Tensor], yy: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Linear and debiased CKA of squared products and their unbiased HSIC."""
    (linear_xy, debiased_xy), (linear_xx, debiased_xx), (linear_yy, debiased_yy) = xy, xx, yy
    scale_x, scale_y = (
        torch.where(squared > 0, squared, torch.nan) for squared in (linear_xx, linear_yy)
    )
    own_x = positive_or_nan(debiased_xx, linear_xx)
    own_y = positive_or_nan(debiased_yy, linear_yy)
    return (
        linear_xy / (scale_x.sqrt() * scale_y.sqrt()),
        debiased_xy / (own_x.sqrt() * own_y.sqrt()),
    )


def _whole(k: Tensor, l: Tensor) -> tuple[Tensor, Tensor]:  # noqa: E741
    squared = (k * l).sum()
    return squared, unbiased_hsic(squared, k.diagonal(), l.diagonal())


def _without(gram: Float[Tensor, "n n"], index: int, whole: Tensor) -> Float[Tensor, "m m"]:
    """The centred Gram matrix of the others, zero where only rounding is left of it."""
    kept = torch.arange(len(gram), device=gram.device) != index
    others = gram[kept][:, kept]
    others = others - others.mean(0)
    others = others - others.mean(1, keepdim=True)
    return torch.where(others.square().sum() > NOTHING_LEFT * whole, others, 0.0)
