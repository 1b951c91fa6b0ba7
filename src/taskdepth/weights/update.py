"""`Update`: a change of low rank to one weight, measured without ever making the full matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth.similarity.subspaces import principal_angles

ROUNDING = 1e-6  # singular values below this share of the largest are those of float32 noise


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """ΔW = `b` @ `a`, what is learnt on top of one weight; float64."""

    b: Float[Tensor, "d_out r"]
    a: Float[Tensor, "r d_in"]

    @classmethod
    def of(cls, b: Float[Tensor, "d_out r"], a: Float[Tensor, "r d_in"], scaling: float) -> Update:
        """ΔW = scaling · b · a."""
        return cls(b.to(torch.float64) * scaling, a.to(torch.float64))

    def singular_values(self) -> Float[Tensor, " smallest"]:
        """Those of ΔW that may differ from zero, descending."""
        of_b, of_a = torch.linalg.qr(self.b).R, torch.linalg.qr(self.a.T).R
        scales: Tensor = torch.linalg.svdvals(of_b @ of_a.T)
        return scales

    def norm(self) -> Float[Tensor, ""]:
        """‖ΔW‖, Frobenius.

        >>> round(float(Update.of(torch.eye(3)[:, :1], torch.tensor([[3.0, 4.0]]), 2.0).norm()), 6)
        10.0
        """
        return self.singular_values().square().sum().sqrt()

    def outputs(self) -> Float[Tensor, "d_out rank"]:
        """An orthonormal basis of what ΔW writes."""
        return self._leading()[0]

    def inputs(self) -> Float[Tensor, "d_in rank"]:
        """An orthonormal basis of what ΔW reads."""
        return self._leading()[1]

    def _leading(self) -> tuple[Float[Tensor, "d_out rank"], Float[Tensor, "d_in rank"]]:
        of_b, of_a = torch.linalg.qr(self.b), torch.linalg.qr(self.a.T)
        left, scales, right = torch.linalg.svd(of_b.R @ of_a.R.T, full_matrices=False)
        kept = scales > ROUNDING * scales[0]
        return of_b.Q @ left[:, kept], of_a.Q @ right.T[:, kept]


def effective_rank(singular_values: Float[Tensor, " k"]) -> Float[Tensor, ""]:
    """exp of the entropy of the singular values' shares: a soft count, from 1 to k.

    NaN where all are zero: LoRA starts so. Roy & Vetterli 2007, EUSIPCO, section 2.

    >>> round(float(effective_rank(torch.tensor([5.0, 5.0, 0.0]))), 6)
    2.0
    """
    shares = singular_values.to(torch.float64)
    shares = shares / shares.sum()
    return torch.exp(torch.special.entr(shares).sum())


def overlap_of_outputs(one: Update, other: Update) -> Float[Tensor, ""]:
    """The mean squared cosine of the principal angles between what two updates write; in [0, 1].

    Two unrelated updates of ranks r ≤ s and width d have s/d on average. NaN where one is zero.

    Hu et al. 2022, arXiv:2106.09685, section 7.2 (with all directions of both sides).
    """
    return _overlap(one.outputs(), other.outputs())


def overlap_of_inputs(one: Update, other: Update) -> Float[Tensor, ""]:
    """As `overlap_of_outputs`, of what they read."""
    return _overlap(one.inputs(), other.inputs())


def _overlap(a: Float[Tensor, "d k"], b: Float[Tensor, "d l"]) -> Float[Tensor, ""]:
    if not a.shape[1] or not b.shape[1]:
        return torch.tensor(torch.nan, dtype=torch.float64)
    return principal_angles(a, b).cos().square().mean()
