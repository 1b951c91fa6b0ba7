"""Representational similarity analysis: whether two models find the same examples far apart."""

from __future__ import annotations

from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth.similarity.centring import checked, undefined

MIN_EXAMPLES = 3  # three pairs: the fewest with an order to compare
ROUNDING = 1e-12  # dissimilarities that differ by less than this share of the largest are equal


class Dissimilarity(StrEnum):
    CORRELATION = "correlation"  # 1 - Pearson correlation of two rows
    COSINE = "cosine"  # 1 - cosine of two rows
    EUCLIDEAN = "euclidean"  # squared distance of two rows


def rsa(
    x: Float[Tensor, "n p"],
    y: Float[Tensor, "n q"],
    *,
    dissimilarity: str = Dissimilarity.CORRELATION,
) -> Float[Tensor, ""]:
    """Spearman correlation of both sides' dissimilarities over all pairs of examples; in [-1, 1].

    Invariant to isotropic scaling. With `cosine` also to orthogonal maps, with `euclidean` to those
    and to translation. NaN where all pairs are equally dissimilar, or where a row has no direction:
    it is zero (`cosine`), or the same in all columns (`correlation`).

    Kriegeskorte et al. 2008, doi:10.3389/neuro.06.004.2008.

    Raises:
        DataError: not two matrices with the same number of rows, or fewer than 3 rows.
        ValueError: an unknown dissimilarity.

    >>> x = torch.arange(12.0).reshape(4, 3) ** 2
    >>> round(float(rsa(x, 3 * x, dissimilarity="cosine")), 6)
    1.0
    """
    kind = Dissimilarity(dissimilarity)
    ranks = []
    for side in checked(x, y, MIN_EXAMPLES):
        pairs = _dissimilarities(side, kind)
        if not bool(pairs.max() - pairs.min() > ROUNDING * pairs.max()):  # NaN comes here, too
            return undefined()
        ranks.append(_average_ranks(pairs))
    return torch.corrcoef(torch.stack(ranks))[0, 1].clamp(-1, 1)


def _dissimilarities(x: Float[Tensor, "n p"], kind: Dissimilarity) -> Float[Tensor, " n_pairs"]:
    first, second = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
    if kind is Dissimilarity.EUCLIDEAN:
        return torch.pdist(x).square()
    if kind is Dissimilarity.CORRELATION:
        x = x - x[:, :1]  # a constant row becomes exact zeros
        x = x - x.mean(dim=1, keepdim=True)
    x = x / x.norm(dim=1, keepdim=True)
    return 1 - (x @ x.T)[first, second]


def _average_ranks(values: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    shared: Tensor = counts.cumsum(0) - (counts - 1).double() / 2
    return shared[place]
