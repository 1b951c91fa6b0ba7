"""`Inputs`: centred inputs in the coordinates where a fit to them is cheapest, with their spectrum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Of many principal axes the preconditioner knows one in so many.
AXES_SHARE = 4
MANY = 64
# Squares of float32 inputs up to this multiple of the l2 leave the optimum within 1e-6.
MAX_SQUARES = 2e6


def _unchanged(values: Tensor) -> Tensor:
    return values


@dataclass(frozen=True, slots=True)
class Rows:
    """How ranks that hold different rows come to the same sums; the default is to hold them all.

    `sum` adds up the ranks' values, `first` gives every rank those of the first one.
    """

    sum: Callable[[Tensor], Tensor] = _unchanged
    first: Callable[[Tensor], Tensor] = _unchanged
    sharded: bool = False


ALL_HERE = Rows()


@dataclass(frozen=True, slots=True)
class Inputs:
    """b inputs, minus their `mean`, and the principal `axes` of their coordinates.

    Weights have one coordinate per dimension. With fewer rows than dimensions they have one per row
    instead: the optimal weights lie in the span of the centred rows, so nothing is lost. `matrix` is
    then the Gram matrix of the rows. A gradient has such coordinates too, and they are the residuals
    themselves; its inner product with a direction is theirs with the direction's logits.
    """

    matrix: Float[Tensor, "b n coordinates"]
    mean: Float[Tensor, "b d"]
    axes: Float[Tensor, "b coordinates n_axes"]
    variance: Float[Tensor, "b n_axes"]
    spanning: Float[Tensor, "b n d"] | None
    n_rows: float
    rows: Rows

    @classmethod
    def of(cls, x: Float[Tensor, "b n d"], l2: float, rows: Rows = ALL_HERE) -> Inputs:
        """Centre `x`, for fits with `l2` or more."""
        n, d = x.shape[-2:]
        n_rows = rows.sum(torch.tensor(float(n), dtype=x.dtype, device=x.device))
        # any value near the mean will do: what is left of it is the bias'
        mean = rows.sum(x.sum(dim=1)) / n_rows
        centred = x - mean[:, None]
        if n > d or rows.sharded:
            squares = rows.sum(_squares(centred.mT))
            # equal matrices may still come apart into different axes on different ranks
            variance, axes = (rows.first(t) for t in _spectrum(squares, l2))
            return cls(centred, mean, axes, variance, None, float(n_rows), rows)
        gram = _squares(centred)
        if not _in_float32(gram, l2):
            centred = x.double() - mean[:, None]
            gram = _squares(centred)
        variance, axes = _spectrum(gram, l2)
        # along these axes nothing depends on the weights, which would only grow
        noise = variance <= torch.finfo(gram.dtype).eps * variance[:, -1:]
        axes = axes.masked_fill(noise[:, None], 0)
        return cls(gram, mean, axes, variance, centred, float(n_rows), rows)

    def logits(self, w: Float[Tensor, "b g k coordinates"]) -> Float[Tensor, "b g k n"]:
        """The logits of the rows, without the bias."""
        return _product(w, self.matrix.mT)

    def gradient(self, residual: Float[Tensor, "b g k n"]) -> Float[Tensor, "b g k coordinates"]:
        """The derivative by the weights, from the rows' derivatives by the logits."""
        if self.spanning is not None:
            # what all rows have in common is nothing: the rows are centred
            return residual - residual.mean(dim=3, keepdim=True)
        return self.rows.sum(_product(residual, self.matrix))

    def dual(self, w: Tensor, logits: Tensor) -> Float[Tensor, "b g k coordinates"]:
        """What a gradient, or weights, must be multiplied with to get their inner product with `w`."""
        return w if self.spanning is None else logits

    def solve(
        self,
        gradient: Float[Tensor, "b g k coordinates"],
        curvature: Float[Tensor, "b g k 1"],
        l2: Float[Tensor, " g"],
    ) -> Float[Tensor, "b g k coordinates"]:
        """(c X'X + l2)⁻¹ times `gradient`, where `curvature` is n c and the least axis known stands
        for those that are not.
        """
        l2 = l2[:, None, None]
        spectrum = curvature / self.n_rows * self.variance[:, None, None] + l2
        known = self.axes.shape[1] == self.axes.shape[2]
        beyond = torch.zeros_like(l2) if known else 1 / spectrum[..., :1]
        along = _product(gradient, self.axes) * (1 / spectrum - beyond)
        solved = _product(along, self.axes.mT)
        return solved if known else solved.addcmul_(beyond, gradient)

    def to_inputs(self, w: Float[Tensor, "b g k coordinates"]) -> Float[Tensor, "b g k d"]:
        """Weights of the inputs."""
        return w if self.spanning is None else _product(w, self.spanning)

    def logits_of_inputs(self, weight: Float[Tensor, "b g k d"]) -> Float[Tensor, "b g k n"]:
        """As `logits`, of weights of the inputs."""
        return _product(weight, (self.matrix if self.spanning is None else self.spanning).mT)


def _product(
    values: Float[Tensor, "b g k x"], matrix: Float[Tensor, "b x y"]
) -> Float[Tensor, "b g k y"]:
    """One product per input: a dimension for the label sets would copy the matrix for each of them."""
    return (values.flatten(1, 2) @ matrix).reshape(*values.shape[:3], -1)


def _squares(x: Float[Tensor, "b m n"]) -> Float[Tensor, "b m m"]:
    """x x', three quarters of it computed."""
    half = x.shape[1] // 2
    top, bottom = x[:, :half], x[:, half:]
    across = bottom @ top.mT
    return torch.cat(
        [
            torch.cat([top @ top.mT, across.mT], dim=2),
            torch.cat([across, bottom @ bottom.mT], dim=2),
        ],
        dim=1,
    )


def _in_float32(squares: Float[Tensor, "b m m"], l2: float) -> bool:
    return bool((squares.diagonal(dim1=1, dim2=2).sum(dim=1) <= MAX_SQUARES * l2).all())


def _spectrum(
    squares: Float[Tensor, "b m m"], l2: float
) -> tuple[Float[Tensor, "b n_axes"], Float[Tensor, "b m n_axes"]]:
    """The variances, ascending, and their axes; of many only the largest, about, unless they differ
    too much.

    By two steps of subspace iteration from random directions (Halko et al. 2011, arXiv:0909.4061,
    algorithm 4.4).
    """
    m = squares.shape[-1]
    if m <= MANY or squares.dtype == torch.float64 or not _in_float32(squares, l2):
        variance, axes = torch.linalg.eigh(squares)
        return variance.clamp(min=0), axes
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(m, -(-m // AXES_SHARE), generator=generator, dtype=squares.dtype)
    basis = torch.linalg.qr(squares @ random.to(squares.device)).Q
    basis = torch.linalg.qr(squares @ basis).Q
    variance, axes = torch.linalg.eigh(basis.mT @ (squares @ basis))
    return variance.clamp(min=0), basis @ axes
