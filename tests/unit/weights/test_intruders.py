"""Intruder dimensions against two dense decompositions, word by word as the paper counts them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from taskdepth.weights import Spectrum, Update, intruder_dimensions


def dense(weight: Tensor, update: Update, k: int, threshold: float) -> int:
    before = torch.linalg.svd(weight, full_matrices=False).U
    after = torch.linalg.svd(weight + update.b @ update.a, full_matrices=False).U
    return sum(float((before.T @ after[:, j]).abs().max()) < threshold for j in range(k))


@pytest.mark.parametrize("shape", [(40, 40), (60, 24), (24, 60), (8, 8)])
@pytest.mark.parametrize("scaling", [0.0, 0.3, 3.0, 30.0])
@pytest.mark.parametrize("rank", [1, 4])
def test_it_counts_what_dense_decompositions_count(
    shape: tuple[int, int], scaling: float, rank: int
) -> None:
    generator = torch.Generator().manual_seed(rank)
    weight = torch.randn(*shape, generator=generator, dtype=torch.float64)
    b = torch.randn(shape[0], rank, generator=generator)
    update = Update.of(b, torch.randn(rank, shape[1], generator=generator), scaling)
    spectrum = Spectrum.of(weight)
    for k, threshold in ((5, 0.5), (8, 0.8)):
        found = intruder_dimensions(spectrum, update, k=k, threshold=threshold)
        assert found == dense(weight, update, k, threshold)
        if scaling == 0:
            assert found == 0
        if scaling == 30 and shape != (8, 8) and threshold == 0.8:
            assert found >= rank, "an update that drowns the weight is all new"


def test_a_flat_spectrum_converges() -> None:
    """Singular values that hardly differ are what Krylov spaces find hard."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(300, 300, generator=generator, dtype=torch.float64)
    u, _, v = torch.linalg.svd(noise)
    weight = u @ torch.diag(torch.linspace(1.02, 1, 300, dtype=torch.float64)) @ v
    b, a = torch.randn(300, 2, generator=generator), torch.randn(2, 300, generator=generator)
    update = Update.of(b, a, 0.01)
    for threshold in (0.3, 0.9):
        found = intruder_dimensions(Spectrum.of(weight), update, k=10, threshold=threshold)
        assert found == dense(weight, update, 10, threshold)
