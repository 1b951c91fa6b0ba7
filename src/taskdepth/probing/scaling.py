"""`Scaling`: what brings the dimensions of every depth to mean 0 and deviation 1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Mean and deviation of each dimension of each depth; a constant dimension has deviation inf."""

    mean: Float[Tensor, "#n_depths 1 #d"]
    deviation: Float[Tensor, "#n_depths 1 #d"]

    @classmethod
    def of(cls, x: Float[Tensor, "n_depths n d"]) -> Scaling:
        """That of the rows `x`, in float64."""
        # one depth after the other: float64 copies of all of them would be twice the states
        moments = [
            torch.std_mean(of_depth.double(), dim=0, keepdim=True, correction=0) for of_depth in x
        ]
        deviation, mean = (torch.stack(values) for values in zip(*moments, strict=True))
        return cls.of_moments(mean, deviation)

    @classmethod
    def of_moments(
        cls, mean: Float[Tensor, "n_depths 1 d"], deviation: Float[Tensor, "n_depths 1 d"]
    ) -> Scaling:
        """That of rows with this mean and deviation."""
        # rounding leaves a constant dimension a tiny deviation, which would blow up what is not there
        constant = deviation <= 1e-9 * mean.abs()
        return cls(mean, deviation.masked_fill(constant, torch.inf))

    @classmethod
    def none(cls, x: Float[Tensor, "n_depths n d"]) -> Scaling:
        """Leaves rows as they are."""
        zero = torch.zeros(len(x), 1, 1, dtype=torch.float64, device=x.device)
        return cls(zero, zero + 1)

    def to(self, device: torch.device | str) -> Scaling:
        """The same on `device`."""
        return Scaling(self.mean.to(device), self.deviation.to(device))

    def apply(self, x: Float[Tensor, "n_depths n d"]) -> Float[Tensor, "n_depths n d"]:
        """`x` scaled, in float32 after centring in float64; constant dimensions become 0."""
        scaled = torch.empty_like(x, dtype=torch.float32)
        means, deviations = (t.expand(len(x), 1, -1) for t in (self.mean, self.deviation))
        for of_depth, out, mean, deviation in zip(x, scaled, means, deviations, strict=True):
            out.copy_((of_depth.double() - mean) / deviation)
        return scaled


def standardised(
    x: Float[Tensor, "n_depths n d"], is_train: Bool[Tensor, " n"]
) -> Float[Tensor, "n_depths n d"]:
    """Each dimension of each depth to mean 0 and deviation 1 over the training rows.

    One L2 then means the same at every depth, however large its states are. A dimension without
    variance stays constant.
    """
    return Scaling.of(x[:, is_train]).apply(x)
