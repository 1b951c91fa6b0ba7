"""`Regressions`: many softmax regressions at once, their derivatives and a preconditioner.

Arrays end in `[k, n]`: rows last, so that sums over few columns run over long vectors. Whatever is
summed over rows goes through `Rows`, so that the rows may lie on several ranks: parameters are the
same on all of them, logits are those of their own rows.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from taskdepth.probing.inputs import Inputs


class Parameters(NamedTuple):
    """Weights in the coordinates of `Inputs`; two classes have one column, the log-odds of class 1."""

    w: Float[Tensor, "b g k coordinates"]
    bias: Float[Tensor, "b g k"]


class Answers(NamedTuple):
    """Probabilities (of two classes: that of the wrong one), and derivatives of the log-loss."""

    p: Float[Tensor, "b g k n"]
    wrong: Float[Tensor, "b g 1 n"]
    residual: Float[Tensor, "b g k n"]


class MeanCurvature(NamedTuple):
    """`each` is that along one of the orthonormal combinations of classes, the columns of `classes`."""

    each: Float[Tensor, "b g k 1"]
    classes: Float[Tensor, "b g k k"]


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
        self.inputs, self.sum_ranks = inputs, inputs.rows.sum
        self.two_classes = n_classes == 2
        dtype = inputs.matrix.dtype
        counted = torch.ones_like(y, dtype=torch.float64) if weight is None else weight.double()
        counts = counted.new_zeros(*y.shape[:2], n_classes)
        self.counts = self.sum_ranks(counts.scatter_add_(2, y, counted))
        self.absent = self.counts == 0
        self.label = y[:, :, None]
        self.sign = (1 - 2 * self.label).to(dtype)  # of two classes
        self.weight = None if weight is None else weight[:, :, None].to(dtype)

    def of_sets(self, chosen: Tensor) -> Regressions:
        """Those of the chosen label sets: a mask, or indices, which may repeat."""
        part = copy.copy(self)
        for name in ("counts", "absent", "label", "sign"):
            setattr(part, name, getattr(self, name)[:, chosen])
        part.weight = None if self.weight is None else self.weight[:, chosen]
        return part

    def start(self) -> Parameters:
        """No weights, and the biases that answer with the class frequencies."""
        bias = torch.where(self.absent, 1.0, self.counts).log()
        if self.two_classes:
            bias = bias[..., 1:] - bias[..., :1]
            bias = bias.masked_fill(self.absent.any(dim=2, keepdim=True), 0)
        bias = bias.to(self.sign.dtype)
        return Parameters(bias.new_zeros(*bias.shape, self.inputs.matrix.shape[2]), bias)

    def logits(self, without_bias: Tensor, bias: Tensor) -> Float[Tensor, "b g k n"]:
        """Classes without rows have no probability."""
        return self.without_absent(without_bias.mT + bias[..., None, :]).mT

    def without_absent(self, values: Float[Tensor, "*any k"]) -> Float[Tensor, "*any k"]:
        """Logits, or biases, under which classes without rows have no probability."""
        absent = self.absent.reshape(
            *self.absent.shape[:2], *[1] * (values.ndim - 3), self.absent.shape[2]
        )
        if self.two_classes:
            values = values.masked_fill(absent[..., :1], torch.inf)
            absent = absent[..., 1:]
        return values.masked_fill(absent, -torch.inf)

    def predict(self, at: Parameters) -> Int[Tensor, "b g n"]:
        """The most probable class of every row."""
        logits = self.logits(self.inputs.logits(at.w), at.bias)
        return (logits[:, :, 0] > 0).long() if self.two_classes else logits.argmax(dim=2)

    def exact_loss(self, logits: Float[Tensor, "b g k n"]) -> Float[Tensor, "b g"]:
        """The log-loss in float64."""
        logits = logits.double()
        if self.two_classes:
            loss = softplus(logits * self.sign)
        else:
            loss = logits.logsumexp(dim=2, keepdim=True) - logits.gather(2, self.label)
        if self.weight is not None:
            # a row left out may be of an absent class, whose loss is infinite
            loss = torch.where(self.weight > 0, loss * self.weight, 0)
        return self.sum_ranks(loss.sum(dim=(2, 3)))

    def answers(self, logits: Float[Tensor, "b g k n"]) -> Answers:
        """Without the cancellation of p - 1, the derivative for the right class, where p is near 1."""
        if self.two_classes:
            wrong = (logits * self.sign).sigmoid_()
            return Answers(wrong, wrong, self._weighted(wrong * self.sign))
        p = logits.softmax(dim=2)
        residual = p.scatter(2, self.label, 0)
        wrong = residual.sum(dim=2, keepdim=True)
        residual.scatter_(2, self.label, -wrong)
        return Answers(p, wrong, self._weighted(residual))

    def loss(self, answers: Answers) -> Float[Tensor, "b g"]:
        """The log-loss, only roughly where the right class has next to no probability."""
        loss = self._weighted((-answers.wrong).clamp_(min=-1 + 1e-6).log1p_())
        return -self.sum_ranks(loss.sum(dim=(2, 3)))

    def curvature(self, answers: Answers, change: Float[Tensor, "b g k n"]) -> Float[Tensor, "b g"]:
        """The second derivative of the log-loss as the logits move along `change`."""
        p = answers.p
        if self.two_classes:
            return self.sum_ranks(dot(self._weighted(p - p.square()), change.square()))
        # relative to the right class, for the reason that `answers` gives
        change = change - change.gather(2, self.label)
        change -= (change * p).sum(dim=2, keepdim=True)
        return self.sum_ranks(dot(self._weighted(p), change.square_()))

    def mean_curvature(self, answers: Answers) -> MeanCurvature:
        """The second derivative of the log-loss by the logits, summed over the rows."""
        p = answers.p
        if self.two_classes:
            each = self.sum_ranks(self._weighted(p - p.square()).sum(dim=3, keepdim=True))
            return MeanCurvature(each.clamp(min=torch.finfo(torch.float32).tiny), each)
        # the sum of diag(p) - pp': what leaves one class goes to others, so that rows add up to 0
        curvature = -self.sum_ranks(self._weighted(p) @ p.mT).double()
        curvature.diagonal(dim1=2, dim2=3).zero_()
        curvature.diagonal(dim1=2, dim2=3).copy_(-curvature.sum(dim=3))
        # a constant added to every bias changes nothing: in that direction, and along classes
        # without rows, nothing must not be divided by nothing
        total = curvature.diagonal(dim1=2, dim2=3).sum(dim=2)[..., None, None].clamp(min=1e-30)
        present = (~self.absent).double()
        curvature += total * (present[..., None] * present[..., None, :])
        curvature += total * torch.diag_embed(1 - present)
        each, classes = torch.linalg.eigh(curvature)
        return MeanCurvature(each[..., None].to(p.dtype), classes.to(p.dtype))

    def precondition(
        self, gradient: Parameters, curvature: MeanCurvature, l2: Float[Tensor, " g"]
    ) -> Parameters:
        """The gradient times the inverse of the Hessian, had all rows the same `curvature`."""
        (w, bias), (each, classes), absent = gradient, curvature, self.absent
        if self.two_classes:
            bias = (bias / each[..., 0]).masked_fill_(absent.any(dim=2, keepdim=True), 0)
            return Parameters(self.inputs.solve(w, each, l2), bias)
        w = classes @ self.inputs.solve(classes.mT @ w, each, l2)
        bias = (classes @ (classes.mT @ bias[..., None] / each))[..., 0]
        return Parameters(w.masked_fill_(absent[..., None], 0), bias.masked_fill_(absent, 0))

    def _weighted(self, values: Tensor) -> Float[Tensor, "b g k n"]:
        return values if self.weight is None else values * self.weight


def dot(a: Tensor, b: Tensor) -> Float[Tensor, "b g"]:
    """One product per problem."""
    return (a * b).sum(dim=(2, 3))
