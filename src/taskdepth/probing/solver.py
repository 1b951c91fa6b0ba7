"""`fit_logistic`: regularised logistic regressions to their optimum, many at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from taskdepth.errors import ConfigError, DataError
from taskdepth.probing.newton import SoftmaxRegressions, rotate

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
    n_classes: int | None = None,
    start: LogisticFit | None = None,
    tolerance: float = 1e-7,
    max_steps: int = 100,
) -> LogisticFit:
    """Minimise the sum of log-losses + l2/2 * ||W||^2, the bias free, to the optimum.

    The leading dimensions are independent problems. Those of `x` and `y` are broadcast against each
    other, and problems that share inputs share the work on them: `x [depths, n, d]` with
    `y [2, 1, n]` is 2 * depths problems. Stops when the gap to the optimum is below `tolerance`
    times the objective; 1e-4 is enough for accuracies. The products with `x` are made in its dtype,
    half precision in float32.

    Raises:
        ConfigError: `l2` is not positive and finite, or there are fewer than two classes.
        DataError: the shapes (also those of `start`) do not fit, a value of `x` is not finite or a
            label is out of range.

    >>> x, y = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([0, 0, 1, 1])
    >>> fit = fit_logistic(x, y, l2=1.0)
    >>> fit.predict(torch.tensor([[0.4], [2.6]]))
    tensor([0, 1])
    """
    return _fit(x, y, [l2], n_classes, start, tolerance, max_steps)[0]


def fit_path(
    x: Float[Tensor, "*#problems n d"],
    y: Int[Tensor, "*#problems n"],
    l2s: Sequence[float],
    *,
    n_classes: int | None = None,
    tolerance: float = 1e-7,
    max_steps: int = 100,
) -> list[LogisticFit]:
    """`fit_logistic` for every value of `l2s`, in their order.

    The work on `x` is done once, and each fit starts from that of the next larger l2.

    Raises:
        ConfigError, DataError: as `fit_logistic`.
    """
    return _fit(x, y, l2s, n_classes, None, tolerance, max_steps)


@torch.no_grad()
def _fit(
    x: Tensor,
    y: Tensor,
    l2s: Sequence[float],
    n_classes: int | None,
    start: LogisticFit | None,
    tolerance: float,
    max_steps: int,
) -> list[LogisticFit]:
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()
    if n_classes is None:
        n_classes = int(y.max()) + 1 if y.numel() else 0
    _check(x, y, l2s, n_classes)
    layout = _Layout.of(x, y)
    x, y = layout.inputs(x), layout.per_problem(y.long(), 1)
    begin = None if start is None else layout.parameters(start, x.shape[-1], n_classes)
    size = _part_size(x, y, n_classes)
    parts = []
    for first in range(0, len(x), size):
        at = slice(first, first + size)
        part = _Part(x[at], y[at], n_classes)
        w = part.start() if begin is None else part.from_fit(begin[0][at], begin[1][at])
        fits: dict[float, LogisticFit] = {}
        for l2 in sorted(set(l2s), reverse=True):
            w, converged = part.minimise(w, l2, tolerance, max_steps)
            fits[l2] = part.to_fit(w, l2, converged)
        parts.append(fits)
    return [layout.restore([fits[l2] for fits in parts]) for l2 in l2s]


def _check(x: Tensor, y: Tensor, l2s: Sequence[float], n_classes: int) -> None:
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


def _part_size(x: Tensor, y: Tensor, n_classes: int) -> int:
    """How many of the inputs to solve at a time: what fits the processor's cache, or the GPU."""
    n, d = x.shape[-2:]
    per_input_bytes = x.element_size() * n * (2 * min(n, d) + 4 * y.shape[1] * n_classes)
    return max(1, PART_BYTES.get(x.device.type, PART_BYTES["cuda"]) // per_input_bytes)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How broadcast leading dimensions become b inputs with g label sets each."""

    problems: tuple[int, ...]
    own: tuple[int, ...]  # the dimensions along which inputs differ
    shared: tuple[int, ...]  # those along which label sets share inputs

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> _Layout:
        try:
            problems = np.broadcast_shapes(x.shape[:-2], y.shape[:-1])
        except ValueError:
            raise DataError(
                f"leading dimensions of x {list(x.shape)} and y {list(y.shape)} do not broadcast"
            ) from None
        sizes = (1,) * (len(problems) - x.ndim + 2) + x.shape[:-2]
        shared = tuple(i for i, size in enumerate(sizes) if size < problems[i])
        return cls(problems, tuple(i for i in range(len(problems)) if i not in shared), shared)

    def _sizes(self, dims: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self.problems[i] for i in dims)

    def inputs(self, x: Tensor) -> Float[Tensor, "b n d"]:
        return x.reshape(math.prod(self._sizes(self.own)), *x.shape[-2:])

    def per_problem(self, values: Tensor, n_trailing: int) -> Tensor:
        """`[*problems, …]` as `[b, g, …]`."""
        trailing = values.shape[values.ndim - n_trailing :]
        values = values.expand((*self.problems, *trailing))
        order = (*self.own, *self.shared)
        values = values.permute((*order, *range(len(order), values.ndim)))
        return values.reshape((math.prod(self._sizes(self.own)), -1, *trailing))

    def parameters(self, fit: LogisticFit, d: int, n_classes: int) -> tuple[Tensor, Tensor]:
        """The weights and biases of `fit`, as `[b, g, d, columns]` and `[b, g, columns]`."""
        expected = (*self.problems, d, 1 if n_classes == 2 else n_classes)
        if fit.weight.shape != expected:
            raise DataError(f"start has weights {list(fit.weight.shape)}, not {list(expected)}")
        return self.per_problem(fit.weight, 2), self.per_problem(fit.bias, 1)

    def restore(self, parts: Sequence[LogisticFit]) -> LogisticFit:
        """`[b, g, …]`, in parts of b, as `[*problems, …]`."""
        order = (*self.own, *self.shared)
        back = sorted(range(len(order)), key=order.__getitem__)

        def joined(name: str) -> Tensor:
            values = torch.cat([getattr(part, name) for part in parts])
            values = values.reshape((*self._sizes(order), *values.shape[2:]))
            return values.permute((*back, *range(len(order), values.ndim)))

        return LogisticFit(*(joined(field.name) for field in fields(LogisticFit)))


class _Part:
    """Some of the inputs, rotated; leads from `LogisticFit` to rotated parameters and back.

    The solver knows only one column per class. Two classes with one column w are the same problem
    with the columns -w/2 and w/2 and twice the l2.
    """

    def __init__(self, x: Float[Tensor, "b n d"], y: Int[Tensor, "b g n"], n_classes: int) -> None:
        self.x, self.y = x, y
        self.two_classes = n_classes == 2
        self.rotated = rotate(x)
        self.regressions = SoftmaxRegressions(self.rotated.x, y, n_classes)

    def start(self) -> Float[Tensor, "b g classes axes_and_one"]:
        return self.regressions.start()

    def minimise(
        self, w: Tensor, l2: float, tolerance: float, max_steps: int
    ) -> tuple[Tensor, Tensor]:
        return self.regressions.minimise(
            w, 2 * l2 if self.two_classes else l2, tolerance, max_steps
        )

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
        objective, gradient_norm = _evaluate(self.x, self.y, weight.double(), bias.double(), l2)
        return LogisticFit(weight.mT, bias, objective, gradient_norm, converged)


def _evaluate(
    x: Float[Tensor, "b n d"],
    y: Int[Tensor, "b g n"],
    weight: Float[Tensor, "b g columns d"],
    bias: Float[Tensor, "b g columns"],
    l2: float,
) -> tuple[Float[Tensor, "b g"], Float[Tensor, "b g"]]:
    """The objective and the norm of its gradient, in float64."""
    x = x.double()
    n_columns = bias.shape[-1]
    logits = (weight.flatten(1, 2) @ x.mT).reshape(*bias.shape, -1) + bias[..., None]
    if n_columns == 1:
        log_p = torch.cat([logsigmoid(-logits), logsigmoid(logits)], dim=2)
    else:
        log_p = logits.log_softmax(dim=2)
    label = y[:, :, None]
    loss = -log_p.gather(2, label).sum(dim=(2, 3))
    residual = log_p.exp().scatter_add_(2, label, -torch.ones_like(label, dtype=x.dtype))
    residual = residual[:, :, -n_columns:]
    gradient = (residual.flatten(1, 2) @ x).reshape(weight.shape) + l2 * weight
    squared = gradient.square().sum(dim=(2, 3)) + residual.sum(dim=3).square().sum(dim=2)
    return loss + l2 / 2 * weight.square().sum(dim=(2, 3)), squared.sqrt()
