"""Intruder dimensions: leading directions of a tuned weight that the pre-trained weight does not have."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth.weights.update import Update

K = 10  # leading singular vectors that are looked at
THRESHOLD = 0.5  # cosine below which a direction is a new one
RESIDUAL = 1e-10  # of singular pairs, as a share of the largest squared singular value


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """The thin singular value decomposition of a pre-trained weight, descending; float64."""

    u: Float[Tensor, "d_out m"]
    s: Float[Tensor, " m"]
    v: Float[Tensor, "d_in m"]

    @classmethod
    def of(cls, weight: Float[Tensor, "d_out d_in"]) -> Spectrum:
        """That of `weight`, computed in float64."""
        u, s, vh = torch.linalg.svd(weight.detach().to(torch.float64), full_matrices=False)
        return cls(u, s, vh.T)


def intruder_dimensions(
    pretrained: Spectrum, update: Update, *, k: int = K, threshold: float = THRESHOLD
) -> int:
    """How many of the k leading left singular vectors of W + ΔW are like none of W's.

    Like: a cosine of at least `threshold`, up to sign. Shuttleworth et al. 2024, arXiv:2410.21228,
    section 3. W is decomposed once for all updates: in the bases of its singular vectors W + ΔW is a
    diagonal and a product of rank r, of which only the leading vectors are computed.

    >>> spectrum = Spectrum.of(torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0])))
    >>> new = torch.tensor([[0.5], [0.5], [0.5], [0.5]])
    >>> intruder_dimensions(spectrum, Update.of(new, new.T, 0.1), k=2, threshold=0.6)
    0
    >>> intruder_dimensions(spectrum, Update.of(new, new.T, 90.0), k=2, threshold=0.6)
    1
    """
    left = _in_basis(pretrained.u, update.b)
    right = _in_basis(pretrained.v, update.a.T)
    rank = left.shape[1]
    diagonal = torch.cat([pretrained.s, pretrained.s.new_zeros(rank)])
    vectors = _leading_left_vectors(diagonal, left, right, min(k, len(pretrained.s)))
    cosines = vectors[: len(pretrained.s)].abs().max(dim=0).values
    return int((cosines < threshold).sum())


def _in_basis(
    basis: Float[Tensor, "d m"], columns: Float[Tensor, "d r"]
) -> Float[Tensor, "m_and_r r"]:
    """Coordinates in `basis`, then in r more directions that hold what the basis does not reach."""
    within = basis.T @ columns
    return torch.cat([within, torch.linalg.qr(columns - basis @ within).R])


def _leading_left_vectors(
    diagonal: Float[Tensor, " m"], left: Float[Tensor, "m r"], right: Float[Tensor, "m r"], k: int
) -> Float[Tensor, "m k"]:
    """The k leading left singular vectors of T = diag(diagonal) + left·rightᵀ, by block Krylov spaces.

    The first block holds the axes of the largest entries and what `left` spans: without the one or the
    other term it would be the answer. Golub & Van Loan, Matrix Computations, section 10.1.
    """
    m, rank = left.shape
    axes = torch.eye(m, min(m, k + rank), dtype=diagonal.dtype, device=diagonal.device)
    space = torch.linalg.qr(torch.cat([axes, left], dim=1)[:, :m]).Q
    block = space
    while True:
        # Tᵀ·space, then the best pairs within the space
        seen = diagonal[:, None] * space + right @ (left.T @ space)
        _, scales, within = torch.linalg.svd(seen, full_matrices=False)
        vectors: Tensor = space @ within.T[:, :k]
        if space.shape[1] == m or _residual(diagonal, left, right, vectors, scales[:k]) < RESIDUAL:
            return vectors
        image = diagonal[:, None] * block + right @ (left.T @ block)
        block = diagonal[:, None] * image + left @ (right.T @ image)
        # of the whole: its reflections stay orthogonal where the block brings nothing new
        known = space.shape[1]
        space = torch.linalg.qr(torch.cat([space, block], dim=1)[:, :m]).Q
        block = space[:, known:]


def _residual(
    diagonal: Float[Tensor, " m"],
    left: Float[Tensor, "m r"],
    right: Float[Tensor, "m r"],
    vectors: Float[Tensor, "m k"],
    scales: Float[Tensor, " k"],
) -> float:
    """The largest ‖TTᵀu − σ²u‖, as a share of the largest σ²."""
    image = diagonal[:, None] * vectors + right @ (left.T @ vectors)
    image = diagonal[:, None] * image + left @ (right.T @ image)
    return float((image - vectors * scales.square()).norm(dim=0).max() / scales[0].square())
