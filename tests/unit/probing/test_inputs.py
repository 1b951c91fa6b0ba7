"""Two kinds of coordinates, one meaning: that of the weights of the inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from taskdepth.probing.inputs import AXES_SHARE, Inputs

SHAPES = [(40, 6), (9, 30)]  # more rows than dimensions, and fewer: one coordinate per row


def sample(n: int, d: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    scale = torch.arange(1, d + 1, dtype=dtype) ** -0.5
    return torch.randn(2, n, d, generator=generator, dtype=dtype) * scale + 3


def some(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_products_are_those_of_the_centred_inputs(n: int, d: int) -> None:
    x = sample(n, d)
    inputs = Inputs.of(x, l2=1.0)
    centred = (x - x.mean(dim=1, keepdim=True))[:, None]
    w, residual = some(2, 3, 2, inputs.matrix.shape[2]), some(2, 3, 2, n)
    weight, logits = inputs.to_inputs(w), inputs.logits(w)
    assert weight.shape == (2, 3, 2, d)
    torch.testing.assert_close(logits, weight @ centred.mT)
    torch.testing.assert_close(inputs.logits_of_inputs(weight), logits)
    product = (inputs.gradient(residual) * inputs.dual(w, logits)).sum(dim=-1)
    torch.testing.assert_close(product, (residual @ centred * weight).sum(dim=-1))
    squares = (w * inputs.dual(w, logits)).sum(dim=-1)
    torch.testing.assert_close(squares, weight.square().sum(dim=-1))


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_solving_is_the_inverse_where_all_axes_are_known(n: int, d: int) -> None:
    x = sample(n, d)
    inputs = Inputs.of(x, l2=1.0)
    centred = x - x.mean(dim=1, keepdim=True)
    residual, curvature, l2 = (
        some(2, 3, 1, n),
        torch.full((2, 3, 1, 1), 5.0),
        torch.tensor([0.1, 1, 9]),
    )
    found = inputs.to_inputs(inputs.solve(inputs.gradient(residual), curvature.double(), l2))
    for i in range(2):
        for j in range(3):
            hessian = 5.0 / n * centred[i].mT @ centred[i] + l2[j].double() * torch.eye(d)
            expected = torch.linalg.solve(hessian, centred[i].mT @ residual[i, j, 0])
            torch.testing.assert_close(found[i, j, 0], expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("n", "d"), [(200, 80), (80, 200)])
def test_float32_knows_the_leading_axes_only(n: int, d: int) -> None:
    x = sample(n, d, torch.float32)
    inputs = Inputs.of(x, l2=1.0)
    centred = (x - x.mean(dim=1, keepdim=True)).double()
    largest = torch.linalg.svdvals(centred).square()[:, : 80 // AXES_SHARE].flip(1)
    assert inputs.variance.shape == largest.shape
    torch.testing.assert_close(inputs.variance[:, -5:].double(), largest[:, -5:], rtol=0.05, atol=0)
    assert bool((inputs.variance <= largest * 1.0001).all())  # a subspace holds no more


def test_float32_gives_way_where_squares_are_large_beside_the_l2() -> None:
    x = sample(9, 30, torch.float32)
    assert Inputs.of(x, l2=1.0).matrix.dtype == torch.float32
    assert Inputs.of(x, l2=1e-5).matrix.dtype == torch.float64
