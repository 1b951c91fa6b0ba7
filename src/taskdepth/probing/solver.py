"""`fit_logistic`: regularised logistic regressions to their optimum, many at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from taskdepth.errors import ConfigError, DataError
from taskdepth.probing.layout import Layout
from taskdepth.probing.newton import ALL_HERE, Rows, SoftmaxRegressions, rotate

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


def fit_logistic(
    x: Float[Tensor, "*#problems n d"],
    y: Int[Tensor, "*#problems n"],
    l2: float,
    *,
    weight: Float[Tensor, "*#problems n"] | None = None,
    n_classes: int | None = None,
    start: LogisticFit | None = None,
    tolerance: float = 1e-7,
    max_steps: int = 100,
) -> LogisticFit:
    """Minimise the sum of log-losses + l2/2 * ||W||^2, the bias free, to the optimum.

    The leading dimensions are independent problems. Those of `x`, `y` and `weight` are broadcast
    against each other, and problems that share inputs share the work on them: `x [depths, n, d]`
    with `y [2, 1, n]` is 2 * depths problems. A row's log-loss counts `weight` times; weight 0
    leaves the row out, so `weight [folds, 1, n]` fits every fold at once. Stops when the gap to the
    optimum is below `tolerance` times the objective; 1e-4 is enough for accuracies. The products
    with `x` are made in its dtype, half precision in float32.

    Raises:
        ConfigError: `l2` is not positive and finite, or there are fewer than two classes.
        DataError: the shapes (also those of `start`) do not fit, a value of `x` is not finite, a
            label is out of range, or weights are negative, not finite or all 0.

    >>> x, y = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([0, 0, 1, 1])
    >>> fit = fit_logistic(x, y, l2=1.0)
    >>> fit.predict(torch.tensor([[0.4], [2.6]]))
    tensor([0, 1])
    """
    return solve(*(x, y, [l2], weight), n_classes, Stop(tolerance, max_steps), start=start)[0]


def fit_path(
    x: Float[Tensor, "*#problems n d"],
    y: Int[Tensor, "*#problems n"],
    l2s: Sequence[float],
    *,
    weight: Float[Tensor, "*#problems n"] | None = None,
    n_classes: int | None = None,
    tolerance: float = 1e-7,
    max_steps: int = 100,
) -> list[LogisticFit]:
    """`fit_logistic` for every value of `l2s`, in their order.

    The work on `x` is done once, and each fit starts from that of the next larger l2.

    Raises:
        ConfigError, DataError: as `fit_logistic`.
    """
    return solve(x, y, l2s, weight, n_classes, Stop(tolerance, max_steps))


@dataclass(frozen=True, slots=True)
class Stop:
    """When a problem is solved or given up."""

    tolerance: float
    max_steps: int


@torch.no_grad()
def solve(
    x: Tensor,
    y: Tensor,
    l2s: Sequence[float],
    weight: Tensor | None,
    n_classes: int | None,
    stop: Stop,
    *,
    start: LogisticFit | None = None,
    rows: Rows = ALL_HERE,
) -> list[LogisticFit]:
    """`fit_path`, from `start` on, with rows that may lie on several ranks."""
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()
    if n_classes is None:
        n_classes = int(y.max()) + 1 if y.numel() else 0
    check(x, y, l2s, weight, n_classes)
    layout = Layout.of(x, y) if weight is None else Layout.of(x, y, weight)
    x, y = layout.inputs(x), layout.per_problem(y.long(), 1)
    weight = None if weight is None else layout.per_problem(weight, 1)
    begin = None if start is None else _parameters(start, layout, x.shape[-1], n_classes)
    size = _part_size(x, y, n_classes)
    parts = []
    for first in range(0, len(x), size):
        at = slice(first, first + size)
        part = _Part(x[at], y[at], None if weight is None else weight[at], n_classes, rows)
        w = part.start() if begin is None else part.from_fit(begin[0][at], begin[1][at])
        parts.append(part.path(w, l2s, stop))
    return [_joined([fits[l2] for fits in parts], layout) for l2 in l2s]


def check(
    x: Tensor, y: Tensor, l2s: Sequence[float], weight: Tensor | None, n_classes: int
) -> None:
    """Raises:
    ConfigError, DataError: as `fit_logistic`.
    """
    if wrong := [l2 for l2 in l2s if not (math.isfinite(l2) and l2 > 0)]:
        raise ConfigError(f"l2 must be positive and finite, not {wrong[0]}")
    if x.ndim < 2 or y.ndim < 1 or x.shape[-2] != y.shape[-1] or 0 in x.shape:
        raise DataError(f"x {list(x.shape)} and y {list(y.shape)} do not describe the same rows")
    if n_classes < 2:
        raise ConfigError(f"a classifier needs two classes or more, not {n_classes}")
    if int(y.min()) < 0 or int(y.max()) >= n_classes:
        raise DataError(f"a label lies outside 0 to {n_classes - 1}")
    if not bool(x.isfinite().all()):
        raise DataError("x holds values that are not finite")
    if weight is None:
        return
    if weight.ndim < 1 or weight.shape[-1] != y.shape[-1]:
        raise DataError(f"weight {list(weight.shape)} and y {list(y.shape)} differ in their rows")
    if not bool((weight.isfinite() & (weight >= 0)).all()):
        raise DataError("weights must be finite and not negative")
    if not bool((weight > 0).any(dim=-1).all()):
        raise DataError("the weights of a problem are all 0")


def _part_size(x: Tensor, y: Tensor, n_classes: int) -> int:
    """How many of the inputs to solve at a time: what fits the processor's cache, or the GPU."""
    n, d = x.shape[-2:]
    per_input_bytes = x.element_size() * n * (2 * min(n, d) + 4 * y.shape[1] * n_classes)
    return max(1, PART_BYTES.get(x.device.type, PART_BYTES["cuda"]) // per_input_bytes)


def _parameters(
    start: LogisticFit, layout: Layout, d: int, n_classes: int
) -> tuple[Float[Tensor, "b g d columns"], Float[Tensor, "b g columns"]]:
    expected = (*layout.problems, d, 1 if n_classes == 2 else n_classes)
    if start.weight.shape != expected:
        raise DataError(f"start has weights {list(start.weight.shape)}, not {list(expected)}")
    return layout.per_problem(start.weight, 2), layout.per_problem(start.bias, 1)


def _joined(parts: Sequence[LogisticFit], layout: Layout) -> LogisticFit:
    """Parts `[b, g, …]` as `[*problems, …]`."""
    names = [field.name for field in fields(LogisticFit)]
    return LogisticFit(
        *(layout.restore(torch.cat([getattr(part, name) for part in parts])) for name in names)
    )


class _Part:
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

    def path(self, w: Tensor, l2s: Sequence[float], stop: Stop) -> dict[float, LogisticFit]:
        """A fit for every l2, the largest first; each starts from the one before."""
        fits: dict[float, LogisticFit] = {}
        for l2 in sorted(set(l2s), reverse=True):
            w, converged = self.regressions.minimise(
                w, 2 * l2 if self.two_classes else l2, stop.tolerance, stop.max_steps
            )
            fits[l2] = self.to_fit(w, l2, converged)
        return fits

    def from_fit(self, weight: Tensor, bias: Tensor) -> Float[Tensor, "b g classes axes_and_one"]:
        weight, bias = weight.double().mT, bias.double()
        if self.two_classes:
            weight, bias = torch.cat([-weight, weight], 2) / 2, torch.cat([-bias, bias], 2) / 2
        w = self.start()
        bias = torch.where(bias.isfinite(), bias, w[..., -1])
        w[..., -1] = bias + (weight * self.rotated.mean[:, None, None]).sum(dim=-1)
        w[..., :-1] = weight @ self.rotated.basis[:, None]
        return w.masked_fill_(self.regressions.absent[..., None], 0)

    def to_fit(self, w: Tensor, l2: float, converged: Tensor) -> LogisticFit:
        weight = w[..., :-1] @ self.rotated.basis.mT[:, None]
        bias = w[..., -1] - (weight * self.rotated.mean[:, None, None]).sum(dim=-1)
        absent = self.regressions.absent
        # a constant added to every bias changes nothing: those of the classes seen add up to 0
        shift = bias.masked_fill(absent, 0).sum(-1, keepdim=True) / self.regressions.n_present
        bias = (bias - shift).masked_fill(absent, -torch.inf)
        if self.two_classes:
            weight, bias = weight[:, :, 1:] - weight[:, :, :1], bias[..., 1:] - bias[..., :1]
        weight, bias = weight.to(self.x.dtype), bias.to(self.x.dtype)
        objective, gradient_norm = self._evaluate(weight.double(), bias.double(), l2)
        return LogisticFit(weight.mT, bias, objective, gradient_norm, converged)

    def _evaluate(
        self, weight: Float[Tensor, "b g columns d"], bias: Float[Tensor, "b g columns"], l2: float
    ) -> tuple[Float[Tensor, "b g"], Float[Tensor, "b g"]]:
        """The objective and the norm of its gradient, in float64."""
        x = self.x.double()
        n_columns = bias.shape[-1]
        logits = (weight.flatten(1, 2) @ x.mT).reshape(*bias.shape, -1) + bias[..., None]
        if n_columns == 1:
            log_p = torch.cat([logsigmoid(-logits), logsigmoid(logits)], dim=2)
        else:
            log_p = logits.log_softmax(dim=2)
        label = self.y[:, :, None]
        loss = -log_p.gather(2, label)
        residual = log_p.exp().scatter_add_(2, label, -torch.ones_like(loss))[:, :, -n_columns:]
        if self.weight is not None:
            counted = self.weight[:, :, None].double()
            # a row left out may be of an absent class, whose loss is infinite
            loss = torch.where(counted > 0, loss * counted, 0)
            residual = residual * counted
        loss = self.rows.sum(loss.sum(dim=(2, 3)))
        gradient = self.rows.sum((residual.flatten(1, 2) @ x).reshape(weight.shape)) + l2 * weight
        of_bias = self.rows.sum(residual.sum(dim=3))
        squared = gradient.square().sum(dim=(2, 3)) + of_bias.square().sum(dim=2)
        return loss + l2 / 2 * weight.square().sum(dim=(2, 3)), squared.sqrt()
