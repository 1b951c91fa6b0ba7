"""Draws of curves with the same fit and rotated residuals: what chance alone would make of them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

ROUNDING = 1e-9  # relative size below which a difference is rounding


def rotated(
    curves: Float[np.ndarray, "n_signals n_layers"],
    basis: Float[np.ndarray, "n_layers n_parameters"],
    n_draws: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "n_draws n_signals n_layers"]:
    """`curves` with what `basis`, of orthonormal columns, leaves of them rotated over the layers.

    All signals are rotated alike, so that they stay as correlated as they are. For normal noise
    around a combination of `basis` the draws are as likely as `curves` (rotation tests: Langsrud
    2005, Statistics and Computing 15).
    """
    fits = curves @ basis @ basis.T
    directions, sizes, _ = np.linalg.svd(curves - fits, full_matrices=False)
    rank = int((sizes > ROUNDING * np.linalg.norm(curves)).sum())
    residuals = directions[:, :rank] * sizes[:rank]
    noise = rng.standard_normal((n_draws, curves.shape[1], rank))
    rotations = np.linalg.qr(noise - basis @ (basis.T @ noise)).Q
    draws: np.ndarray = fits + residuals @ rotations.swapaxes(-1, -2)
    return draws


def line_basis(n_layers: int) -> Float[np.ndarray, "n_layers 2"]:
    """Orthonormal columns that span all straight lines."""
    basis: np.ndarray = np.linalg.qr(np.vander(np.linspace(-1, 1, n_layers), 2)).Q
    return basis
