"""Softmax regressions to their optimum, many at once, by a truncated Newton method.

Each step solves the Newton equations by conjugate gradients, to a precision that grows as the
optimum nears, and then searches along the solution (Nocedal & Wright 2006, *Numerical Optimization*,
algorithm 7.1). Two things make it fast: the inputs are turned into their principal axes, where the
diagonal of the Hessian is a good preconditioner, and label sets that share inputs share the products
with them.

The products with the inputs run in the dtype of the inputs; the parameters, and every sum that
decides something, are float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Principal axes below this share of the largest variance are rounding noise of a float64 Gram matrix.
NEGLIGIBLE_VARIANCE = 1e-12
MAX_INNER_STEPS = 100
MAX_SEARCHES = 30
import os
TOP=float(os.environ.get('TOP','1e-4'));INN=float(os.environ.get('INN','0'));POW=float(os.environ.get('POW','.25'));FMAX=float(os.environ.get('FMAX','.3'))


@dataclass(frozen=True, slots=True)
class Rotated:
    """Inputs in their principal axes, with a column of ones for the bias; `basis` leads back.

    `x[:, :, :-1]` is `(inputs - mean) @ basis`. With fewer rows than dimensions there is one axis per
    row: the optimal weights lie in the span of the centred rows, so nothing is lost.
    """

    x: Float[Tensor, "b n axes_and_one"]
    basis: Float[Tensor, "b d axes"]
    mean: Float[Tensor, "b d"]


def rotate(x: Float[Tensor, "b n d"]) -> Rotated:
    """Centre `x` and turn it into its principal axes."""
    mean = x.mean(dim=1, dtype=torch.float64)
    centred = x.double() - mean[:, None]
    n, d = x.shape[-2:]
    if n > d:
        narrow = centred.to(x.dtype)
        # any orthonormal basis of all d dimensions is exact, so this product may be a rough one
        basis = torch.linalg.eigh((narrow.mT @ narrow).double()).eigenvectors
        rotated = narrow @ basis.to(x.dtype)
    else:
        variance, axes = torch.linalg.eigh(centred @ centred.mT)
        kept = variance > NEGLIGIBLE_VARIANCE * variance[:, -1:]
        scale = torch.where(kept, variance, 0).sqrt()[:, None]
        rotated = (axes * scale).to(x.dtype)
        basis = centred.mT @ (axes * torch.where(kept[:, None], 1 / scale, 0))
    ones = torch.ones_like(rotated[..., :1])
    return Rotated(torch.cat([rotated, ones], dim=-1), basis, mean)


class SoftmaxRegressions:
    """b sets of inputs, each with g label sets: b * g problems in the coordinates of `Rotated`.

    Parameters are `[b, axes + 1, g, classes]`, the bias last. `l2` weighs all but the bias. A class
    without rows has probability 0: its bias tends to minus infinity and its weights to 0, so it is
    kept out of the sums and its parameters stay 0.
    """

    def __init__(
        self,
        x: Float[Tensor, "b n axes_and_one"],
        y: Int[Tensor, "b g n"],
        n_classes: int,
    ) -> None:
        self.x = x
        self.x_squared = x.square()
        self.label = y.mT[..., None].contiguous()  # [b, n, g, 1]
        self.counts = torch.nn.functional.one_hot(y, n_classes).sum(dim=2)
        self.absent = self.counts == 0
        self.n_present = (~self.absent).sum(dim=-1, keepdim=True)
        penalised = torch.ones(x.shape[-1], 1, 1, dtype=torch.float64, device=x.device)
        penalised[-1] = 0
        self.penalised = penalised

    def start(self) -> Float[Tensor, "b axes_and_one g classes"]:
        """No weights, and the bias that answers with the class frequencies."""
        w = self.x.new_zeros(
            (self.x.shape[0], self.x.shape[-1], *self.counts.shape[1:]), dtype=torch.float64
        )
        w[:, -1] = self.counts.clamp(min=1).double().log()
        return w

    def minimise(
        self,
        w: Float[Tensor, "b axes_and_one g classes"],
        l2: float,
        tolerance: float,
        max_steps: int,
    ) -> tuple[Float[Tensor, "b axes_and_one g classes"], Bool[Tensor, "b g"]]:
        """The optimum from `w` on, and which problems reached it.

        A problem has converged when the decrease that its Newton step promises, the gap to its
        optimum, is below `tolerance` times its objective; that last step is still taken.
        """
        penalty = l2 * self.penalised
        logits = self._logits(w).masked_fill_(self.absent[:, None], -torch.inf)
        p, residual = self._probabilities(logits)
        converged = torch.zeros_like(self.counts[..., 0], dtype=torch.bool)
        for _ in range(max_steps):
            gradient = self._adjoint(residual) + penalty * w
            diagonal = self._hessian_diagonal(p) + penalty
            objective = self._loss(residual) + _dot(w, penalty * w) / 2
            gap = _dot(gradient, self._precondition(gradient, diagonal)) / 2
            converged |= gap <= TOP * tolerance * objective
            if bool(converged.all()):
                break
            forcing = (gap / objective).pow(POW).clamp(1e-3, FMAX)
            enough = torch.maximum(forcing.square() * gap, INN * tolerance * objective)*2
            gradient = torch.where(converged[:, None, :, None], 0, gradient)
            step = self._newton_step(p, gradient, diagonal, penalty, enough)
            slope = _dot(gradient, step)
            length, logits, p, residual = self._search(
                w, step, logits, slope, penalty, ~converged
            )
            w = w + length[:, None, :, None] * step
            converged |= -slope / 2 <= tolerance * objective
            if bool(converged.all()):
                break
        return w, converged

    def _newton_step(
        self, p: Tensor, gradient: Tensor, diagonal: Tensor, penalty: Tensor, enough: Tensor
    ) -> Tensor:
        """Minus the inverse Hessian times the gradient, up to `forcing`, by conjugate gradients."""
        step = torch.zeros_like(gradient)
        rest = -gradient
        direction = self._precondition(rest, diagonal)
        size = _dot(rest, direction)
        running = size > enough
        for _ in range(MAX_INNER_STEPS):
            if not bool(running.any()):
                break
            image = self._hessian(p, direction) + penalty * direction
            curvature = _dot(direction, image)
            running &= curvature > 0
            length = torch.where(running, size / curvature, 0)[:, None, :, None]
            step += length * direction
            rest -= length * image
            preconditioned = self._precondition(rest, diagonal)
            old_size, size = size, _dot(rest, preconditioned)
            growth = torch.where(running, size / old_size, 0)[:, None, :, None]
            direction = preconditioned + growth * direction
            running &= size > enough
        return step

    def _search(
        self,
        w: Tensor,
        step: Tensor,
        logits: Tensor,
        slope: Tensor,
        penalty: Tensor,
        moving: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """How far to go along `step`: at most 1, and no further than where the slope turns upwards.

        Slopes are compared, not objectives: near the optimum objectives differ by less than the
        rounding of their sums. The objective is convex, so the slope rises along the way.
        """
        change = self._logits(step)
        at_start, bend = _dot(penalty * w, step), _dot(penalty * step, step)
        length = moving.double()
        for _ in range(MAX_SEARCHES):
            moved = torch.addcmul(logits, change, length[:, None, :, None].to(change.dtype))
            p, residual = self._probabilities(moved)
            there = (residual * change).sum(dim=(1, 3), dtype=torch.float64)
            there = there + at_start + length * bend
            too_far = moving & (there > -0.1 * slope)
            if not bool(too_far.any()):
                break
            secant = (slope / (slope - there)).clamp(0.1, 0.9)
            length = torch.where(too_far, length * secant, length)
        return length, moved, p, residual

    def _logits(self, w: Tensor) -> Float[Tensor, "b n g classes"]:
        flat = w.flatten(start_dim=2).to(self.x.dtype)
        return (self.x @ flat).unflatten(-1, w.shape[2:])

    def _adjoint(self, residual: Tensor) -> Float[Tensor, "b axes_and_one g classes"]:
        product = self.x.mT @ residual.flatten(start_dim=2)
        return product.double().unflatten(-1, residual.shape[2:])

    def _probabilities(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The probabilities, and their difference from the labels without cancellation.

        The entry of the right class is p - 1: minus the sum of the others is exact where p is close
        to 1 and the subtraction is not.
        """
        p = logits.softmax(dim=-1)
        residual = p.scatter(-1, self.label, 0)
        residual.scatter_(-1, self.label, -residual.sum(dim=-1, keepdim=True))
        return p, residual

    def _loss(self, residual: Tensor) -> Float[Tensor, "b g"]:
        # p of the right class is 1 + residual; the floor only matters to the scale of the tolerance
        wrong = residual.gather(-1, self.label).clamp(min=-1 + 1e-6)
        return -wrong.log1p().sum(dim=(1, 3), dtype=torch.float64)

    def _hessian(self, p: Tensor, v: Tensor) -> Float[Tensor, "b axes_and_one g classes"]:
        change = self._logits(v)
        # relative to the right class, for the same reason as in `_probabilities`
        change -= change.gather(-1, self.label)
        weighted = p * change
        mean = weighted.sum(dim=-1, keepdim=True)
        return self._adjoint(weighted.addcmul_(p, mean, value=-1))

    def _hessian_diagonal(self, p: Tensor) -> Float[Tensor, "b axes_and_one g classes"]:
        weighted = (p - p.square()).flatten(start_dim=2)
        diagonal = (self.x_squared.mT @ weighted).double().unflatten(-1, p.shape[2:])
        return diagonal.clamp(min=torch.finfo(torch.float32).tiny)  # a class may be as good as absent

    def _precondition(self, v: Tensor, diagonal: Tensor) -> Tensor:
        """`v` over the diagonal of the Hessian, the biases adding up to 0.

        A constant added to every bias changes nothing, so in that direction rounding would rule.
        """
        v = v / diagonal
        bias = v[:, -1]
        shift = bias.sum(dim=-1, keepdim=True) / self.n_present
        v[:, -1] = (bias - shift).masked_fill_(self.absent, 0)
        return v


def _dot(a: Tensor, b: Tensor) -> Float[Tensor, "b g"]:
    """One product per problem."""
    return (a * b).sum(dim=(1, 3))
