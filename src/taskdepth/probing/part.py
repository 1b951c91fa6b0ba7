"""`LogisticFit`, and `Part`: as many inputs as are solved at a time, in the solver's coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from taskdepth.probing.descent import Solved, Stop, optima
from taskdepth.probing.inputs import Inputs, Rows
from taskdepth.probing.regressions import Parameters, Regressions

# What one pass works on: about the processor's cache; on a GPU, enough to keep it busy.
PART_BYTES = {"cpu": 2**23, "cuda": 2**32}


@dataclass(frozen=True, slots=True, eq=False)
class LogisticFit:
    """The optimum of every problem.

    Two classes have one column, the log-odds of class 1, as in sklearn. A class without training
    rows has weights 0 and bias -inf (with two classes: the bias is infinite), which is the limit of
    its optimum. `converged` is about the gap to the optimum, see `fit_logistic`.
    """

    weight: Float[Tensor, "*problems d columns"]
    bias: Float[Tensor, "*problems columns"]
    objective: Float[Tensor, "*problems"]
    converged: Bool[Tensor, "*problems"]

    def predict(self, x: Float[Tensor, "*#problems n d"]) -> Int[Tensor, "*problems n"]:
        """The most probable class of every row."""
        logits = x.to(self.weight.dtype) @ self.weight + self.bias[..., None, :]
        return (logits[..., 0] > 0).long() if logits.shape[-1] == 1 else logits.argmax(dim=-1)


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
        self.y, self.weight, self.dtype = y, weight, x.dtype
        # the largest first: it is the easiest
        self.l2s = sorted(set(l2s), reverse=True)
        self.inputs = Inputs.of(x, self.l2s[-1], rows)
        self.regressions = Regressions(self.inputs, y, n_classes, weight)

    def fits(self, stop: Stop) -> dict[float, LogisticFit]:
        """A fit for every l2."""
        solved = optima(self.regressions, self.l2s, stop)
        return {l2: self._to_fit(at, l2) for l2, at in zip(self.l2s, solved, strict=True)}

    def n_right(self, stop: Stop) -> Float[Tensor, "l2s b g"]:
        """How many of the rows without weight are answered right, for every value of `l2s`."""
        unseen = self.weight == 0
        answered = (
            self.regressions.predict(Parameters(at.w, at.bias)) == self.y
            for at in optima(self.regressions, self.l2s, stop)
        )
        return torch.stack([(right & unseen).sum(dim=-1).double() for right in answered])

    def _to_fit(self, at: Solved, l2: float) -> LogisticFit:
        inputs, regressions = self.inputs, self.regressions
        weight = inputs.to_inputs(at.w)
        logits = regressions.logits(inputs.logits_of_inputs(weight), at.bias)
        squares = weight.double().square().sum(dim=(2, 3))
        objective = regressions.exact_loss(logits) + l2 / 2 * squares
        bias = at.bias - (weight * inputs.mean[:, None, None]).sum(dim=3)
        if not regressions.two_classes:
            # a constant added to every bias changes nothing: those of the classes seen add up to 0
            absent = regressions.absent
            bias = bias - bias.masked_fill(absent, torch.nan).nanmean(dim=2, keepdim=True)
        bias = regressions.without_absent(bias)
        return LogisticFit(weight.mT.to(self.dtype), bias.to(self.dtype), objective, at.converged)
