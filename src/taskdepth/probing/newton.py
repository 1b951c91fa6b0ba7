"""Softmax regressions to their optimum, many at once, by a truncated Newton method.

Each step solves the Newton equations by conjugate gradients, to a precision that grows as the
optimum nears, and then searches along the solution (Nocedal & Wright 2006, *Numerical
Optimization*, section 7.1). Two things make it fast: the inputs are turned into their principal
axes, where the diagonal of the Hessian is a good preconditioner, and label sets that share inputs
share the products with them.

The products with the inputs run in the dtype of the inputs; the parameters, and every sum that
decides something, are float64. Arrays end in `[classes, n]`: rows last, so that sums over few
classes run over long vectors. Whatever is summed over rows goes through `Rows`, so that the rows may
lie on several ranks: parameters are the same on all of them, logits are those of their own rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Axes below this share of the largest variance are rounding noise of a float64 Gram matrix.
NEGLIGIBLE_VARIANCE = 1e-12
MAX_INNER_STEPS = 500
MAX_SEARCHES = 30
# Gaps measured with the preconditioner in the Hessian's place are rough: ask for that much less.
ROUGH = 0.03


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
class Rotated:
    """Inputs in their principal axes, with a last column of ones for the bias.

    `x[..., :-1]` is `(inputs - mean) @ basis`. With fewer rows than dimensions there is one axis
    per row: the optimal weights lie in the span of the centred rows, so nothing is lost. The basis
    is then `rows.mT @ axes` and never made, `axes` otherwise.
    """

    x: Float[Tensor, "b n axes_and_one"]
    mean: Float[Tensor, "b d"]
    axes: Float[Tensor, "b d_or_n axes"]
    rows: Float[Tensor, "b n d"] | None

    def to_inputs(self, w: Float[Tensor, "b k axes"]) -> Float[Tensor, "b k d"]:
        """Weights of the axes as weights of the inputs."""
        w = w @ self.axes.mT
        return w if self.rows is None else w @ self.rows

    def from_inputs(self, w: Float[Tensor, "b k d"]) -> Float[Tensor, "b k axes"]:
        """Weights of the inputs as weights of the axes."""
        return (w if self.rows is None else w @ self.rows.mT) @ self.axes


def rotate(x: Float[Tensor, "b n d"], rows: Rows = ALL_HERE) -> Rotated:
    """Centre `x` and turn it into its principal axes."""
    n, d = x.shape[-2:]
    n_rows = rows.sum(torch.tensor(float(n), dtype=torch.float64, device=x.device))
    mean = rows.sum(x.sum(dim=1, dtype=torch.float64)) / n_rows
    # a copy even of float64, which stays as it is
    centred = x.to(torch.float64, copy=True).sub_(mean[:, None])
    if n > d or rows.sharded:
        narrow = centred.to(x.dtype)
        del centred  # before the next large arrays are made
        # every orthonormal basis of all d dimensions is exact: the dtype of the inputs is enough
        squares = rows.sum(narrow.mT @ narrow)
        # equal matrices may still come apart into different axes on different ranks
        basis = rows.first(torch.linalg.eigh(squares).eigenvectors)
        return Rotated(_with_ones(narrow @ basis), mean, basis.double(), None)
    variance, axes = torch.linalg.eigh(centred @ centred.mT)
    kept = variance > NEGLIGIBLE_VARIANCE * variance[:, -1:]
    scale = torch.where(kept, variance, 0).sqrt()[:, None]
    rotated = (axes * scale).to(x.dtype)
    return Rotated(
        _with_ones(rotated), mean, axes * torch.where(kept[:, None], 1 / scale, 0), centred
    )


def _with_ones(x: Float[Tensor, "b n axes"]) -> Float[Tensor, "b n axes_and_one"]:
    return torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)


class SoftmaxRegressions:
    """b inputs, each with g label sets: b * g problems in the coordinates of `Rotated`.

    Parameters are `[b, g, classes, axes + 1]`, the bias last; `l2` weighs all but the bias. The
    optimum of a class without rows has weights 0 and a bias of minus infinity: it is kept out of
    the sums, and its parameters stay 0. `weight`: how often each row counts, once by default.
    """

    def __init__(
        self,
        x: Float[Tensor, "b n axes_and_one"],
        y: Int[Tensor, "b g n"],
        n_classes: int,
        weight: Float[Tensor, "b g n"] | None = None,
        rows: Rows = ALL_HERE,
    ) -> None:
        self.x = x
        self.x_squared = x.square()
        self.label = y[:, :, None]
        self.weight = None if weight is None else weight[:, :, None].to(x.dtype)
        self.rows = rows
        counted = torch.ones_like(y, dtype=torch.float64) if weight is None else weight.double()
        counts = counted.new_zeros(*y.shape[:2], n_classes)
        self.counts = rows.sum(counts.scatter_add_(2, y, counted))
        self.absent = self.counts == 0
        self.n_present = (~self.absent).sum(dim=-1, keepdim=True)

    def start(self) -> Float[Tensor, "b g classes axes_and_one"]:
        """No weights, and the biases that answer with the class frequencies."""
        shape = (*self.counts.shape, self.x.shape[-1])
        w = torch.zeros(shape, dtype=torch.float64, device=self.x.device)
        w[..., -1] = torch.where(self.absent, 1.0, self.counts).log()
        return w

    def predict(self, w: Float[Tensor, "b g classes axes_and_one"]) -> Int[Tensor, "b g n"]:
        """The most probable class of every row."""
        return self._logits(w).masked_fill_(self.absent[..., None], -torch.inf).argmax(dim=2)

    def path(
        self,
        w: Float[Tensor, "b g classes axes_and_one"],
        l2s: Sequence[float],
        tolerance: float,
        max_steps: int,
    ) -> Iterator[tuple[Float[Tensor, "b g classes axes_and_one"], Bool[Tensor, "b g"]]]:
        """`minimise` for every l2, in their order, the first from `w` on.

        Optima move smoothly with log l2, so each of the others starts where the line through the two
        before it leads.
        """
        known: list[tuple[float, Tensor]] = []
        for l2 in l2s:
            if len(known) > 1:
                (far, w_far), (near, w_near) = known
                # never further than the two are apart: that would blow up their errors
                share = min(1.0, abs(math.log(l2 / near)) / max(abs(math.log(near / far)), 1e-9))
                w = w_near + share * (w_near - w_far)
            w, converged = self.minimise(w, l2, tolerance, max_steps)
            yield w, converged
            known = [*known[-1:], (l2, w)]

    def minimise(
        self,
        w: Float[Tensor, "b g classes axes_and_one"],
        l2: float,
        tolerance: float,
        max_steps: int,
    ) -> tuple[Float[Tensor, "b g classes axes_and_one"], Bool[Tensor, "b g"]]:
        """The optimum from `w` on, and which problems reached it.

        The decrease that a Newton step promises is the gap to the optimum. A problem has converged
        when that is at most `tolerance` times its objective; the step is still taken. Converged
        problems stand still while others move.
        """
        penalty = torch.full_like(w[0, 0, 0], l2)
        penalty[-1] = 0
        logits = self._logits(w).masked_fill_(self.absent[..., None], -torch.inf)
        converged = torch.zeros_like(self.counts[..., 0], dtype=torch.bool)
        for _ in range(max_steps):
            p, residual = self._probabilities(logits)
            gradient = self._adjoint(self._weighted(residual)) + penalty * w
            diagonal = self._hessian_diagonal(p) + penalty
            objective = self._loss(residual) + _dot(w, penalty * w) / 2
            gap = _dot(gradient, self._precondition(gradient, diagonal)) / 2
            converged |= gap <= ROUGH * tolerance * objective
            if bool(converged.all()):
                break
            gradient.masked_fill_(converged[..., None, None], 0)
            left = torch.maximum(
                gap * (gap / objective).sqrt().clamp(max=0.1), ROUGH * tolerance * objective
            )
            step = self._newton_step(p, gradient, diagonal, penalty, left)
            slope, change = _dot(gradient, step), self._logits(step)
            length = self._search(w, step, logits, change, slope, penalty)
            w = w + length * step
            logits = logits + length.to(change.dtype) * change
            converged |= -slope / 2 <= tolerance * objective
            if bool(converged.all()):
                break
        return w, converged

    def _newton_step(
        self, p: Tensor, gradient: Tensor, diagonal: Tensor, penalty: Tensor, left: Tensor
    ) -> Tensor:
        """Minus the inverse Hessian times the gradient, by conjugate gradients.

        Stops where going on would lower the objective by no more than `left`.
        """
        counted = self._weighted(p)
        step = torch.zeros_like(gradient)
        rest = -gradient
        direction = self._precondition(rest, diagonal)
        size = _dot(rest, direction)
        running = size > 2 * left
        for _ in range(MAX_INNER_STEPS):
            if not bool(running.any()):
                break
            image = self._hessian(p, counted, direction) + penalty * direction
            curvature = _dot(direction, image)
            running &= curvature > 0
            length = torch.where(running, size / curvature, 0)[..., None, None]
            step += length * direction
            rest -= length * image
            preconditioned = self._precondition(rest, diagonal)
            previous, size = size, _dot(rest, preconditioned)
            growth = torch.where(running, size / previous, 0)[..., None, None]
            direction = preconditioned + growth * direction
            running &= size > 2 * left
        return step

    def _search(
        self,
        w: Tensor,
        step: Tensor,
        logits: Tensor,
        change: Tensor,
        slope: Tensor,
        penalty: Tensor,
    ) -> Float[Tensor, "b g 1 1"]:
        """How far to go along `step`: at most 1, and not beyond where the slope turns upwards.

        Slopes are compared, not objectives: near the optimum objectives differ by less than the
        rounding of their sums. The objective is convex, so the slope rises along the way.
        """
        slope_of_penalty, bend = _dot(penalty * w, step), _dot(penalty * step, step)
        length = (slope < 0).double()
        for _ in range(MAX_SEARCHES):
            moved = torch.addcmul(logits, change, length[..., None, None].to(change.dtype))
            residual = self._weighted(self._probabilities(moved)[1])
            there = self.rows.sum((residual * change).sum(dim=(2, 3), dtype=torch.float64))
            there = there + slope_of_penalty + length * bend
            too_far = (slope < 0) & (there > -0.1 * slope)
            if not bool(too_far.any()):
                break
            secant = (slope / (slope - there)).clamp(0.1, 0.9)
            length = torch.where(too_far, length * secant, length)
        return length[..., None, None]

    def _logits(self, w: Tensor) -> Float[Tensor, "b g classes n"]:
        product = w.flatten(1, 2).to(self.x.dtype) @ self.x.mT
        return product.reshape(*w.shape[:3], -1)

    def _adjoint(
        self, residual: Tensor, x: Tensor | None = None
    ) -> Float[Tensor, "b g classes axes_and_one"]:
        product = residual.flatten(1, 2) @ (self.x if x is None else x)
        return self.rows.sum(product.double().reshape(*residual.shape[:3], -1))

    def _weighted(self, values: Tensor) -> Float[Tensor, "b g classes n"]:
        return values if self.weight is None else values * self.weight

    def _probabilities(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The probabilities, and their difference from the labels without cancellation.

        The entry of the right class is p - 1: where p is close to 1 the subtraction loses digits,
        and minus the sum of the others does not.
        """
        p = logits.softmax(dim=2)
        residual = p.scatter(2, self.label, 0)
        residual.scatter_(2, self.label, -residual.sum(dim=2, keepdim=True))
        return p, residual

    def _loss(self, residual: Tensor) -> Float[Tensor, "b g"]:
        """The log-loss, only roughly where the right class has next to no probability."""
        wrong = residual.gather(2, self.label).clamp(min=-1 + 1e-6)
        loss = -self._weighted(wrong.log1p())
        return self.rows.sum(loss.sum(dim=(2, 3), dtype=torch.float64))

    def _hessian(
        self, p: Tensor, counted: Tensor, v: Tensor
    ) -> Float[Tensor, "b g classes axes_and_one"]:
        """The Hessian of the log-loss times `v`; `counted` is `p` times the rows' weights."""
        change = self._logits(v)
        # relative to the right class, for the reason that `_probabilities` gives
        change -= change.gather(2, self.label)
        change -= (change * p).sum(dim=2, keepdim=True)
        return self._adjoint(change.mul_(counted))

    def _hessian_diagonal(self, p: Tensor) -> Float[Tensor, "b g classes axes_and_one"]:
        diagonal = self._adjoint(self._weighted(p - p.square()), self.x_squared)
        return diagonal.clamp(min=torch.finfo(torch.float32).tiny)  # p may have come down to 0

    def _precondition(self, v: Tensor, diagonal: Tensor) -> Tensor:
        """`v` over the diagonal of the Hessian, with biases that add up to 0.

        A constant added to every bias changes nothing, so in that direction rounding would rule.
        """
        v = v / diagonal
        bias = v[..., -1]
        shift = bias.sum(dim=-1, keepdim=True) / self.n_present
        v[..., -1] = (bias - shift).masked_fill_(self.absent, 0)
        return v


def _dot(a: Tensor, b: Tensor) -> Float[Tensor, "b g"]:
    """One product per problem."""
    return (a * b).sum(dim=(2, 3))
