"""Softmax regressions to their optimum, many at once, by nonlinear conjugate gradients.

Every step goes along the preconditioned gradient, made conjugate to the step before (Polak and Ribière;
Nocedal & Wright 2006, *Numerical Optimization*, section 5.2), as far as the objective falls. The
preconditioner is the Hessian with every row's curvature replaced by their mean, which the spectrum
of the inputs inverts for any curvature and l2: one decomposition serves all problems that share
inputs, and they share the products with the inputs as well.

Arrays end in `[k, n]`: rows last, so that sums over few columns run over long vectors. Whatever is
summed over rows goes through `Rows`, so that the rows may lie on several ranks: parameters are the
same on all of them, logits are those of their own rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from taskdepth.probing.inputs import Inputs

MAX_SEARCHES = 30
# A step is long enough where the slope has come down to this share.
SLOPE_LEFT = 0.25
# The gap to the optimum is measured with the preconditioner in the Hessian's place: ask for less.
ROUGH = 0.1


class Parameters(NamedTuple):
    """Weights in the coordinates of `Inputs`; two classes have one column, the log-odds of class 1."""

    w: Float[Tensor, "b g k coordinates"]
    bias: Float[Tensor, "b g k"]


class _Answers(NamedTuple):
    """Probabilities (of two classes: that of the wrong one), and derivatives of the log-loss."""

    p: Float[Tensor, "b g k n"]
    wrong: Float[Tensor, "b g 1 n"]
    residual: Float[Tensor, "b g k n"]


class _Direction(NamedTuple):
    """Where a step leads, and by what that changes the logits."""

    w: Float[Tensor, "b g k coordinates"]
    bias: Float[Tensor, "b g k"]
    change: Float[Tensor, "b g k n"]


class _Step(NamedTuple):
    """What the next step is made conjugate to."""

    size: Float[Tensor, "b g"]
    gradient: Float[Tensor, "b g k coordinates"]
    of_bias: Float[Tensor, "b g k"]


class Regressions:
    """b inputs, each with g label sets: b * g problems.

    The optimum of a class without rows has weights 0 and a bias of minus infinity: it is kept out of
    the sums, and its parameters stay 0. `weight`: how often each row counts, once by default.
    """

    def __init__(
        self,
        inputs: Inputs,
        y: Int[Tensor, "b g n"],
        n_classes: int,
        weight: Float[Tensor, "b g n"] | None = None,
    ) -> None:
        self.inputs, rows = inputs, inputs.rows
        self.dtype = inputs.matrix.dtype
        self.label = y[:, :, None]
        self.weight = None if weight is None else weight[:, :, None].to(self.dtype)
        counted = torch.ones_like(y, dtype=torch.float64) if weight is None else weight.double()
        counts = counted.new_zeros(*y.shape[:2], n_classes)
        self.counts = rows.sum(counts.scatter_add_(2, y, counted))
        self.n_rows = rows.sum(torch.tensor(float(y.shape[-1]), device=y.device)).item()
        self.absent = self.counts == 0
        self.n_present = (~self.absent).sum(dim=-1, keepdim=True)
        self.binary = n_classes == 2
        self.sign = (1 - 2 * self.label).to(self.dtype)

    def start(self) -> Parameters:
        """No weights, and the biases that answer with the class frequencies."""
        bias = torch.where(self.absent, 1.0, self.counts).log()
        if self.binary:
            bias = (bias[..., 1:] - bias[..., :1]).masked_fill(self.absent.any(-1, keepdim=True), 0)
        bias = bias.to(self.dtype)
        return Parameters(bias.new_zeros(*bias.shape, self.inputs.matrix.shape[-1]), bias)

    def predict(self, at: Parameters) -> Int[Tensor, "b g n"]:
        """The most probable class of every row."""
        logits = self._masked(self.inputs.logits(at.w) + at.bias[..., None])
        return (logits[:, :, 0] > 0).long() if self.binary else logits.argmax(dim=2)

    def path(
        self, l2s: Sequence[float], tolerance: float, max_steps: int
    ) -> Iterator[tuple[Parameters, Bool[Tensor, "b g"]]]:
        """`minimise` for every l2, in their order.

        Optima move smoothly with log l2, so each of the others starts where the line through the two
        before it leads.
        """
        known: list[tuple[float, Parameters]] = []
        at = self.start()
        for l2 in l2s:
            if len(known) > 1:
                (far, at_far), (near, at_near) = known
                # never further than the two are apart: that would blow up their errors
                share = min(1.0, abs(math.log(l2 / near)) / max(abs(math.log(near / far)), 1e-9))
                at = Parameters(*(b + share * (b - a) for a, b in zip(at_far, at_near, strict=True)))
            at, converged = self.minimise(at, l2, tolerance, max_steps)
            yield at, converged
            known = [*known[-1:], (l2, at)]

    def minimise(
        self, at: Parameters, l2: float, tolerance: float, max_steps: int
    ) -> tuple[Parameters, Bool[Tensor, "b g"]]:
        """The optimum from `at` on, and which problems reached it.

        A problem has converged when the gap to the optimum is at most `tolerance` times its
        objective. Converged problems stand still while others move.
        """
        inputs, sum_ranks = self.inputs, self.inputs.rows.sum
        w, bias = at
        logits = inputs.logits(w)
        penalty = l2 / 2 * _dot(w, inputs.dual(w, logits))
        logits = self._masked(logits + bias[..., None])
        answers = self._answers(logits)
        last: _Step | None = None
        for steps in range(max_steps + 1):
            gradient = inputs.gradient(answers.residual) + l2 * w
            of_bias = sum_ranks(answers.residual.sum(dim=3))
            curvature = sum_ranks(self._weighted(answers.p - answers.p.square()).sum(dim=3))
            down = inputs.solve(gradient, curvature[..., None] / self.n_rows, l2)
            bias_down = self._bias_step(of_bias, curvature)
            image = inputs.logits(down)
            dual = inputs.dual(down, image)
            size = _dot(gradient, dual) + (of_bias * bias_down).sum(dim=2)
            objective = sum_ranks(self._loss(answers)) + penalty
            converged = size / 2 <= ROUGH * tolerance * objective
            if steps == max_steps or bool(converged.all()):
                break
            change = image + bias_down[..., None]
            if last is None:
                slope, direction = -size, _Direction(-down, -bias_down, -change)
            else:
                same = _dot(last.gradient, dual) + (last.of_bias * bias_down).sum(dim=2)
                growth = ((size - same) / last.size).clamp(min=0)
                # a direction that does not fall half as steeply as the gradient's is left for that
                growth = torch.where(converged | (growth * there > size / 2), 0, growth)
                slope = growth * there - size
                growth = growth[..., None]
                far = growth[..., None]
                direction = _Direction(
                    far * direction.w - down,
                    growth * direction.bias - bias_down,
                    far * direction.change - change,
                )
            slope = torch.where(converged, 0, slope)
            dual = inputs.dual(direction.w, direction.change - direction.bias[..., None])
            of_penalty, bend = l2 * _dot(w, dual), l2 * _dot(direction.w, dual)
            length, there, answers, logits = self._search(
                logits, direction.change, answers, slope, of_penalty, bend
            )
            penalty = penalty + length * of_penalty + length.square() / 2 * bend
            w = w + length[..., None, None] * direction.w
            bias = bias + length[..., None] * direction.bias
            last = _Step(size, gradient, of_bias)
        return Parameters(w, bias), converged

    def _search(
        self,
        logits: Tensor,
        change: Tensor,
        answers: _Answers,
        slope: Tensor,
        of_penalty: Tensor,
        bend: Tensor,
    ) -> tuple[Tensor, Tensor, _Answers, Tensor]:
        """How far to go along `change`; the slope, the answers and the logits there.

        Slopes are compared, not objectives: near the optimum objectives differ by less than the
        rounding of their sums. The objective is convex, so the slope rises along the way.
        """
        sum_ranks = self.inputs.rows.sum
        curvature = sum_ranks(self._curvature(answers.p, change)) + bend
        length = torch.where(slope < 0, -slope / curvature, 0)
        for _ in range(MAX_SEARCHES):
            moved = torch.addcmul(logits, change, length[..., None, None])
            answers = self._answers(moved)
            there = sum_ranks(_dot(answers.residual, change)) + of_penalty + length * bend
            too_far = (slope < 0) & (there > -SLOPE_LEFT * slope)
            if not bool(too_far.any()):
                break
            secant = (slope / (slope - there)).clamp(0.1, 0.9)
            length = torch.where(too_far, length * secant, length)
        return length, there, answers, moved

    def _bias_step(self, of_bias: Tensor, curvature: Tensor) -> Float[Tensor, "b g k"]:
        """The gradient over the diagonal of the Hessian, with biases that add up to 0.

        A constant added to every bias changes nothing, so in that direction rounding would rule.
        """
        step = of_bias / curvature.clamp(min=torch.finfo(torch.float32).tiny)
        if self.binary:
            return step.masked_fill_(self.absent.any(dim=2, keepdim=True), 0)
        shift = step.sum(dim=2, keepdim=True) / self.n_present
        return (step - shift).masked_fill_(self.absent, 0)

    def _masked(self, logits: Tensor) -> Float[Tensor, "b g k n"]:
        """Classes without rows have no probability."""
        absent = self.absent[..., None]
        if self.binary:
            logits = logits.masked_fill(absent[:, :, :1], torch.inf)
            absent = absent[:, :, 1:]
        return logits.masked_fill(absent, -torch.inf)

    def _weighted(self, values: Tensor) -> Float[Tensor, "b g k n"]:
        return values if self.weight is None else values * self.weight

    def _answers(self, logits: Float[Tensor, "b g k n"]) -> _Answers:
        """Without the cancellation of p - 1, the derivative for the right class, where p is near 1."""
        if self.binary:
            wrong = (logits * self.sign).sigmoid()
            return _Answers(wrong, wrong, self._weighted(wrong * self.sign))
        p = logits.softmax(dim=2)
        residual = p.scatter(2, self.label, 0)
        wrong = residual.sum(dim=2, keepdim=True)
        residual.scatter_(2, self.label, -wrong)
        return _Answers(p, wrong, self._weighted(residual))

    def _curvature(self, p: Tensor, change: Tensor) -> Float[Tensor, "b g"]:
        """The second derivative of the log-loss along `change`, over the rows of this rank."""
        if self.binary:
            return _dot(self._weighted(p - p.square()), change.square())
        # relative to the right class, for the reason that `_answers` gives
        change = change - change.gather(2, self.label)
        change -= (change * p).sum(dim=2, keepdim=True)
        return _dot(self._weighted(p), change.square())

    def _loss(self, answers: _Answers) -> Float[Tensor, "b g"]:
        """The log-loss, only roughly where the right class has next to no probability."""
        loss = -self._weighted((-answers.wrong).clamp(min=-1 + 1e-6).log1p())
        return loss.sum(dim=(2, 3))


def _dot(a: Tensor, b: Tensor) -> Float[Tensor, "b g"]:
    """One product per problem."""
    return (a * b).sum(dim=(2, 3))
