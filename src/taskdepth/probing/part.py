"""`LogisticFit`, and `Part`: as many inputs as are solved at a time, in the solver's coordinates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from taskdepth.probing.newton import Rows, SoftmaxRegressions, rotate

# What one pass works on: about the processor's cache; on a GPU, enough to keep it busy.
PART_BYTES = {"cpu": 2**24, "cuda": 2**32}


@dataclass(frozen=True, slots=True, eq=False)
class LogisticFit:
    """The optimum of every problem.

    Two classes have one column, the log-odds of class 1, as in sklearn. A class without training
    rows has weights 0 and bias -inf (with two classes: the bias is infinite), which is the limit of
    its optimum. `objective` and `gradient_norm` are evaluated in float64 at `weight` and `bias` as
    they are here. `converged` is about the gap to the optimum, see `fit_logistic`.
    """

    weight: Float[Tensor, "*problems d columns"]
    bias: Float[Tensor, "*problems columns"]
    objective: Float[Tensor, "*problems"]
    gradient_norm: Float[Tensor, "*problems"]
    converged: Bool[Tensor, "*problems"]

    def predict(self, x: Float[Tensor, "*#problems n d"]) -> Int[Tensor, "*problems n"]:
        """The most probable class of every row."""
        logits = x.to(self.weight.dtype) @ self.weight + self.bias[..., None, :]
        return (logits[..., 0] > 0).long() if logits.shape[-1] == 1 else logits.argmax(dim=-1)


@dataclass(frozen=True, slots=True)
class Stop:
    """When a problem is solved or given up."""

    tolerance: float
    max_steps: int


def part_size(x: Float[Tensor, "inputs _ d"], n_rows: int, n_columns: int) -> int:
    """How many of the inputs to solve at a time: what fits the processor's cache, or the GPU."""
    per_input_bytes = x.element_size() * n_rows * (2 * min(n_rows, x.shape[-1]) + 4 * n_columns)
    return max(1, PART_BYTES.get(x.device.type, PART_BYTES["cuda"]) // per_input_bytes)


class Part:
    """Some of the inputs, rotated; leads from `LogisticFit` to rotated parameters and back.

    The solver knows only one column per class. Two classes with one column w are the same problem
    with the columns -w/2 and w/2 and twice the l2.
    """

    def __init__(
        self,
        x: Float[Tensor, "b n d"],
        y: Int[Tensor, "b g n"],
        weight: Float[Tensor, "b g n"] | None,
        n_classes: int,
        rows: Rows,
    ) -> None:
        self.x, self.y, self.weight, self.rows = x, y, weight, rows
        self.two_classes = n_classes == 2
        self.rotated = rotate(x, rows)
        self.regressions = SoftmaxRegressions(self.rotated.x, y, n_classes, weight, rows)

    def start(self) -> Float[Tensor, "b g classes axes_and_one"]:
        return self.regressions.start()

    def path(
        self, w: Tensor, l2s: Sequence[float], stop: Stop
    ) -> Iterator[tuple[Float[Tensor, "b g classes axes_and_one"], Bool[Tensor, "b g"]]]:
        """The optimum for every l2, in their order."""
        own = [2 * l2 if self.two_classes else l2 for l2 in l2s]
        return self.regressions.path(w, own, stop.tolerance, stop.max_steps)

    def fits(self, w: Tensor, l2s: Sequence[float], stop: Stop) -> dict[float, LogisticFit]:
        """A fit for every l2; the largest is found first, as it is the easiest."""
        down = sorted(set(l2s), reverse=True)
        found, converged = zip(*self.path(w, down, stop), strict=True)
        together = self._to_fit(torch.stack(found, 1), down, torch.stack(converged, 1))
        each = [getattr(together, field.name).unbind(dim=1) for field in fields(LogisticFit)]
        return {l2: LogisticFit(*of_l2) for l2, *of_l2 in zip(down, *each, strict=True)}

    def n_right(self, w: Tensor) -> Float[Tensor, "b g"]:
        """How many of the rows without weight are answered right."""
        right = self.regressions.predict(w) == self.y
        return (right & (self.weight == 0)).sum(dim=-1, dtype=torch.float64)

    def from_fit(self, weight: Tensor, bias: Tensor) -> Float[Tensor, "b g classes axes_and_one"]:
        weight, bias = weight.double().mT, bias.double()
        if self.two_classes:
            weight, bias = torch.cat([-weight, weight], 2) / 2, torch.cat([-bias, bias], 2) / 2
        w = self.start()
        bias = torch.where(bias.isfinite(), bias, w[..., -1])
        w[..., -1] = bias + (weight * self.rotated.mean[:, None, None]).sum(dim=-1)
        w[..., :-1] = self.rotated.from_inputs(weight.flatten(1, 2)).reshape(w[..., :-1].shape)
        return w.masked_fill_(self.regressions.absent[..., None], 0)

    def _to_fit(
        self,
        w: Float[Tensor, "b k g classes axes_and_one"],
        l2s: Sequence[float],
        converged: Tensor,
    ) -> LogisticFit:
        """The fits of k values of l2 at once: one pass over the inputs, which float64 makes dear."""
        n_l2s, n_sets = w.shape[1:3]
        w = w.flatten(1, 2)
        # one product per input: a dimension for the label sets would copy the axes for each of them
        weight = self.rotated.to_inputs(w[..., :-1].flatten(1, 2)).reshape(*w.shape[:3], -1)
        bias = w[..., -1] - (weight * self.rotated.mean[:, None, None]).sum(dim=-1)
        absent = self.regressions.absent.repeat(1, n_l2s, 1)
        # a constant added to every bias changes nothing: those of the classes seen add up to 0
        n_present = self.regressions.n_present.repeat(1, n_l2s, 1)
        shift = bias.masked_fill(absent, 0).sum(-1, keepdim=True) / n_present
        bias = (bias - shift).masked_fill(absent, -torch.inf)
        if self.two_classes:
            weight, bias = weight[:, :, 1:] - weight[:, :, :1], bias[..., 1:] - bias[..., :1]
        weight, bias = weight.to(self.x.dtype), bias.to(self.x.dtype)
        l2 = weight.new_tensor(l2s, dtype=torch.float64).repeat_interleave(n_sets)
        objective, gradient_norm = self._evaluate(weight.double(), bias.double(), l2)
        values = (weight.mT, bias, objective, gradient_norm)
        by_l2 = [v.reshape(v.shape[0], n_l2s, n_sets, *v.shape[2:]) for v in values]
        return LogisticFit(by_l2[0], by_l2[1], by_l2[2], by_l2[3], converged)

    def _evaluate(
        self,
        weight: Float[Tensor, "b kg columns d"],
        bias: Float[Tensor, "b kg columns"],
        l2: Float[Tensor, " kg"],
    ) -> tuple[Float[Tensor, "b kg"], Float[Tensor, "b kg"]]:
        """The objective and the norm of its gradient, in float64."""
        x = self.x.double()
        n_columns, n_l2s = bias.shape[-1], bias.shape[1] // self.y.shape[1]
        logits = (weight.flatten(1, 2) @ x.mT).reshape(*bias.shape, -1) + bias[..., None]
        if n_columns == 1:
            log_p = torch.cat([logsigmoid(-logits), logsigmoid(logits)], dim=2)
        else:
            log_p = logits.log_softmax(dim=2)
        label = self.y.repeat(1, n_l2s, 1)[:, :, None]
        loss = -log_p.gather(2, label)
        residual = log_p.exp_().scatter_add_(2, label, -torch.ones_like(loss))[:, :, -n_columns:]
        if self.weight is not None:
            counted = self.weight.repeat(1, n_l2s, 1)[:, :, None].double()
            # a row left out may be of an absent class, whose loss is infinite
            loss = torch.where(counted > 0, loss * counted, 0)
            residual = residual * counted
        loss = self.rows.sum(loss.sum(dim=(2, 3)))
        gradient = self.rows.sum((residual.flatten(1, 2) @ x).reshape(weight.shape))
        gradient += l2[:, None, None] * weight
        of_bias = self.rows.sum(residual.sum(dim=3))
        squared = gradient.square().sum(dim=(2, 3)) + of_bias.square().sum(dim=2)
        return loss + l2 / 2 * weight.square().sum(dim=(2, 3)), squared.sqrt()
