"""`Estimate`: one measure of two models at every depth, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """One measure at every depth, float64; NaN where undefined.

    `lower` and `upper` bound the 95 % bootstrap interval over examples. `shuffled` is the chance
    floor: the mean over random permutations of the rows of one side. `influence` is how much the
    value changes when the example that changes it most is left out, `worst_row` which one that is:
    -1 where there is none. Bounds and influence are for the kinds of CKA alone, all NaN elsewhere.
    `undefined` says for each depth why the value is NaN; "" where it is not.
    """

    value: Float[Tensor, " n_depths"]
    lower: Float[Tensor, " n_depths"]
    upper: Float[Tensor, " n_depths"]
    shuffled: Float[Tensor, " n_depths"]
    influence: Float[Tensor, " n_depths"]
    worst_row: Int[Tensor, " n_depths"]
    undefined: tuple[str, ...]

    @classmethod
    def without_bounds(
        cls,
        value: Float[Tensor, " n_depths"],
        shuffled: Float[Tensor, " n_depths"],
        undefined: Sequence[str],
    ) -> Estimate:
        """A value and its floor alone."""
        nothing = torch.full_like(value, torch.nan)
        nowhere = torch.full_like(value, -1, dtype=torch.int64)
        return cls(value, nothing, nothing, shuffled, nothing, nowhere, tuple(undefined))

    @classmethod
    def nothing(cls, n_depths: int, reason: str) -> Estimate:
        """No value at any depth."""
        nan = torch.full((n_depths,), torch.nan, dtype=torch.float64)
        return cls.without_bounds(nan, nan, (reason,) * n_depths)
