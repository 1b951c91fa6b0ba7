"""`LogisticFit`, and `Part`: as many inputs as are solved at a time, in the solver's coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from taskdepth.probing.descent import Regressions
from taskdepth.probing.inputs import Inputs, Rows

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
    """Some of the inputs, in the solver's coordinates; leads from `LogisticFit` to them and back."""

    def __init__(
        self,
        x: Float[Tensor, "b n d"],
        y: Int[Tensor, "b g n"],
        l2s: Sequence[float],
        weight: Float[Tensor, "b g n"] | None,
        n_classes: int,
        rows: Rows,
    ) -> None:
        self.x, self.y, self.weight, self.rows = x, y, weight, rows
        # the largest first: it is the easiest
        self.l2s = sorted(set(l2s), reverse=True)
        self.inputs = Inputs.of(x, self.l2s[-1], rows)
        self.regressions = Regressions(self.inputs, y, n_classes, weight)

    def fits(self, stop: Stop) -> dict[float, LogisticFit]:
        """A fit for every l2."""
        found = list(self.regressions.path(self.l2s, stop.tolerance, stop.max_steps))
        at, converged = zip(*found, strict=True)
        w, bias = (torch.stack(values, 1) for values in zip(*at, strict=True))
        together = self._to_fit(w, bias, torch.stack(converged, 1))
        each = [getattr(together, field.name).unbind(dim=1) for field in fields(LogisticFit)]
        return {l2: LogisticFit(*of_l2) for l2, *of_l2 in zip(self.l2s, *each, strict=True)}

    def n_right(self, stop: Stop) -> Float[Tensor, "l2s b g"]:
        """How many of the rows without weight are answered right, for every value of `self.l2s`."""
        return torch.stack([
            ((self.regressions.predict(at) == self.y) & (self.weight == 0)).sum(dim=-1, dtype=torch.float64)
            for at, _ in self.regressions.path(self.l2s, stop.tolerance, stop.max_steps)
        ])

    def _to_fit(
        self,
        w: Float[Tensor, "b l2s g k coordinates"],
        bias: Float[Tensor, "b l2s g k"],
        converged: Bool[Tensor, "b l2s g"],
    ) -> LogisticFit:
        """The fits of all values of l2 at once: one pass over the inputs, which float64 makes dear."""
        # one product per input: a dimension for the label sets would copy the inputs for each of them
        weight = self.inputs.to_inputs(w.double().flatten(1, 3)).reshape(*w.shape[:4], -1)
        bias = bias - (weight * self.inputs.mean[:, None, None, None]).sum(dim=-1)
        absent = self.regressions.absent[:, None]
        if self.regressions.binary:
            bias = bias.masked_fill(absent[..., :1], torch.inf)
            bias = bias.masked_fill(absent[..., 1:], -torch.inf)
        else:
            # a constant added to every bias changes nothing: those of the classes seen add up to 0
            shift = bias.masked_fill(absent, 0).sum(-1, keepdim=True)
            bias = (bias - shift / self.regressions.n_present[:, None]).masked_fill(absent, -torch.inf)
        weight, bias = weight.to(self.x.dtype), bias.to(self.x.dtype)
        l2 = weight.new_tensor(self.l2s, dtype=torch.float64).repeat_interleave(w.shape[2])
        objective, gradient_norm = self._evaluate(
            weight.double().flatten(1, 2), bias.double().flatten(1, 2), l2
        )
        shape = w.shape[:3]
        return LogisticFit(
            weight.mT, bias, objective.reshape(shape), gradient_norm.reshape(shape), converged
        )

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
