"""95 % intervals of a share of right answers."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

Z_95 = 1.959963984540054  # the normal distribution's 97.5 % point
N_RESAMPLES = 1000


def interval(
    accuracy: Float[Tensor, " *shape"], n: int, kind: str, seed: int
) -> tuple[Float[Tensor, " *shape"], Float[Tensor, " *shape"]]:
    """The interval of `kind` (`wilson` or `bootstrap`) of each share of `n` rows."""
    if kind == "bootstrap":
        return bootstrap_interval(accuracy, n, seed)
    return wilson_interval(accuracy, n)


def wilson_interval(
    accuracy: Float[Tensor, " *shape"], n: int
) -> tuple[Float[Tensor, " *shape"], Float[Tensor, " *shape"]]:
    """The 95 % score interval of a share of `n` (Wilson 1927).

    >>> lower, upper = wilson_interval(torch.tensor([1.0], dtype=torch.float64), 10)
    >>> round(float(lower), 4), round(float(upper), 4)
    (0.7225, 1.0)
    """
    centre = accuracy + Z_95**2 / (2 * n)
    half = Z_95 * (accuracy * (1 - accuracy) / n + Z_95**2 / (4 * n**2)).sqrt()
    scale = 1 + Z_95**2 / n
    return ((centre - half) / scale).clamp(min=0.0), ((centre + half) / scale).clamp(max=1.0)


def bootstrap_interval(
    accuracy: Float[Tensor, " *shape"], n: int, seed: int, n_resamples: int = N_RESAMPLES
) -> tuple[Float[Tensor, " *shape"], Float[Tensor, " *shape"]]:
    """The 95 % percentile interval over resamples of the `n` rows (Efron 1979).

    Of `n` rows drawn with replacement, each is right with the probability `accuracy`: the number of
    right ones in a resample is binomial, and no row need be drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    share = accuracy.double().cpu().expand(n_resamples, *accuracy.shape)
    drawn = torch.binomial(torch.full_like(share, n), share.contiguous(), generator=generator) / n
    lower, upper = drawn.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    return lower.to(accuracy), upper.to(accuracy)
