"""Softmax regressions to their optimum, many at once, by nonlinear conjugate gradients.

Every step goes along the preconditioned gradient, made conjugate to the step before (Polak and Ribière;
Nocedal & Wright 2006, *Numerical Optimization*, section 5.2), as far as the objective falls. The
preconditioner is the Hessian with every row's curvature replaced by their mean, which the spectrum
of the inputs inverts for any curvature and l2: one decomposition serves all problems that share
inputs, and they share the products with the inputs as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from taskdepth.probing.regressions import Answers, MeanCurvature, Parameters, Regressions, dot

# An optimum says little about that of an l2 so many times as large.
FAR = 5.0
MAX_SEARCHES = 30
# A step is long enough where the slope has come down to this share.
SLOPE_LEFT = 0.25
# The gap to the optimum is estimated from the last 4 to 8 steps, at least, and taken for larger.
WINDOW = 4
CAUTION = 1.5


@dataclass(frozen=True, slots=True)
class Stop:
    """When a problem is solved or given up."""

    tolerance: float
    max_steps: int


class Solved(NamedTuple):
    """The optimum of every problem, and whether it was reached."""

    w: Float[Tensor, "b g k coordinates"]
    bias: Float[Tensor, "b g k"]
    converged: Bool[Tensor, "b g"]


class _State(NamedTuple):
    """Where a descent stands, and the step that led there."""

    w: Float[Tensor, "b g k coordinates"]
    bias: Float[Tensor, "b g k"]
    logits: Float[Tensor, "b g k n"]
    penalty: Float[Tensor, "b g"]
    fallen: Float[Tensor, "b g"]  # by how much, since the beginning
    # of the step: where it led, the slope at its end, and the gradient where it began
    direction: Float[Tensor, "b g k coordinates"]
    of_bias: Float[Tensor, "b g k"]
    change: Float[Tensor, "b g k n"]
    slope: Float[Tensor, "b g"]
    gradient: Float[Tensor, "b g k coordinates"]
    bias_gradient: Float[Tensor, "b g k"]
    size: Float[Tensor, "b g"]  # of that gradient, as the preconditioner measures it
    # `fallen` and `size` some steps ago, and some more steps ago
    marks: Float[Tensor, "b g 4"]
    # `MeanCurvature` of that time
    each: Float[Tensor, "b g k 1"]
    classes: Float[Tensor, "b g k k"]


def optima(regressions: Regressions, l2s: Sequence[float], stop: Stop) -> Iterator[Solved]:
    """The optima for every l2, in their order.

    Optima move smoothly with log l2, so each search starts where the line through the two optima
    before it leads. Only where products with the inputs are cheap and the values of l2 far from each
    other, all are sought at once: that takes as many steps as the hardest of them alone.
    """
    n_sets = regressions.absent.shape[1]
    at = regressions.start()
    far = all(abs(math.log(a / b)) > math.log(FAR) for a, b in pairwise(l2s))
    if far and regressions.inputs.spanning is not None:
        sets = torch.arange(n_sets, device=at.w.device).repeat(len(l2s))
        every_l2 = at.w.new_tensor(l2s).repeat_interleave(n_sets)
        every = regressions.of_sets(sets)
        solved = minimise(every, every.start(), every_l2, stop)
        yield from map(
            Solved._make, zip(*(torch.split(v, n_sets, dim=1) for v in solved), strict=True)
        )
        return
    known: list[tuple[float, Parameters]] = []
    for l2 in l2s:
        if len(known) > 1:
            (other, at_far), (near, at_near) = known
            # never further than the two are apart: that would blow up their errors
            share = min(1.0, abs(math.log(l2 / near)) / max(abs(math.log(near / other)), 1e-9))
            at = Parameters(*(b + share * (b - a) for a, b in zip(at_far, at_near, strict=True)))
        solved = minimise(regressions, at, at.w.new_full((n_sets,), l2), stop)
        yield solved
        at = Parameters(solved.w, solved.bias)
        known = [*known[-1:], (l2, at)]


def minimise(
    regressions: Regressions, at: Parameters, l2: Float[Tensor, " g"], stop: Stop
) -> Solved:
    """The optimum of every label set for its own l2, from `at` on.

    A problem has converged when the gap to the optimum is at most `stop.tolerance` times its
    objective. It then stands still while others of its label set move.
    """
    state, answers = _begin(regressions, at, l2)
    found, reached = Parameters(*(v.clone() for v in at)), torch.zeros_like(state.size).bool()
    moving, left = regressions, torch.arange(len(l2), device=l2.device)
    l2_left = l2
    next_mark = 0
    for step in range(stop.max_steps + 1):
        marked = step == next_mark
        next_mark += max(WINDOW, step // 4) if marked else 0
        state, answers, converged = _step(moving, state, answers, l2_left, stop.tolerance, marked)
        unfinished = ~converged.all(dim=0) & (step < stop.max_steps)
        if bool(unfinished.all()):
            continue
        found.w[:, left], found.bias[:, left], reached[:, left] = state.w, state.bias, converged
        if not bool(unfinished.any()):
            break
        left, l2_left, moving = left[unfinished], l2_left[unfinished], moving.of_sets(unfinished)
        state = _State(*(values[:, unfinished] for values in state))
        answers = Answers(*(values[:, unfinished] for values in answers))
    return Solved(*found, reached)


def _begin(
    regressions: Regressions, at: Parameters, l2: Float[Tensor, " g"]
) -> tuple[_State, Answers]:
    """As if after a step from an endless gradient, so that the first goes along the gradient."""
    inputs = regressions.inputs
    without_bias = inputs.logits(at.w)
    penalty = l2 / 2 * dot(at.w, inputs.dual(at.w, without_bias))
    logits = regressions.logits(without_bias, at.bias)
    no_w, no_bias, nothing = (torch.zeros_like(v) for v in (at.w, at.bias, penalty))
    answers = regressions.answers(logits)
    state = _State(
        *(at.w, at.bias, logits, penalty, nothing),
        *(no_w, no_bias, torch.zeros_like(without_bias), nothing),
        *(no_w, no_bias, nothing + torch.inf),
        *(nothing[..., None].expand(-1, -1, 4), *regressions.mean_curvature(answers)),
    )
    return state, answers


def _step(
    regressions: Regressions,
    at: _State,
    answers: Answers,
    l2: Float[Tensor, " g"],
    tolerance: float,
    marked: bool,
) -> tuple[_State, Answers, Bool[Tensor, "b g"]]:
    """The next state, the same for those that have converged, and which have."""
    inputs = regressions.inputs
    gradient = Parameters(
        inputs.gradient(answers.residual) + l2[:, None, None] * at.w,
        regressions.sum_ranks(answers.residual.sum(dim=3)),
    )
    curvature = (
        regressions.mean_curvature(answers) if marked else MeanCurvature(at.each, at.classes)
    )
    down, bias_down = regressions.precondition(gradient, curvature, l2)
    image = inputs.logits(down)
    dual = inputs.dual(down, image)
    size = dot(gradient.w, dual) + (gradient.bias * bias_down).sum(dim=2)
    gap, marks = _gap(at, size, marked)
    converged = gap <= tolerance * (regressions.loss(answers) + at.penalty)
    if bool(converged.all()):
        return at, answers, converged
    unlike = size - dot(at.gradient, dual) - (at.bias_gradient * bias_down).sum(dim=2)
    growth = (unlike / at.size).clamp_(min=0)
    # a direction that does not fall half as steeply as the gradient's is left for that
    growth = growth.masked_fill_(converged | (growth * at.slope > size / 2), 0)
    slope = (growth * at.slope - size).masked_fill_(converged, 0)
    growth = growth[..., None]
    of_bias = growth * at.of_bias - bias_down
    growth = growth[..., None]
    direction = growth * at.direction - down
    change = growth * at.change - (image + bias_down[..., None])
    dual = inputs.dual(direction, change - of_bias[..., None])
    of_penalty, bend = l2 * dot(at.w, dual), l2 * dot(direction, dual)
    length, slope_left, answers, logits = _search(
        regressions, at.logits, change, answers, slope, of_penalty, bend
    )
    far = length[..., None]
    state = _State(
        torch.addcmul(at.w, far[..., None], direction),
        torch.addcmul(at.bias, far, of_bias),
        logits,
        at.penalty + length * (of_penalty + length / 2 * bend),
        at.fallen - length * (slope + slope_left) / 2,
        *(direction, of_bias, change, slope_left),
        *(*gradient, size, marks, *curvature),
    )
    return state, answers, converged


def _gap(at: _State, size: Tensor, marked: bool) -> tuple[Float[Tensor, "b g"], Tensor]:
    """About the gap to the optimum, and the marks from which it is told next.

    It would be half of `size` if the preconditioner were the Hessian. By how much it is more shows in
    how far the objective fell while `size` came down.
    """
    marks = at.marks
    if marked:
        now = torch.stack([at.fallen, size], dim=2)
        marks = torch.cat([marks[..., 2:], now], dim=2)
    fallen, came_down = at.fallen - marks[..., 0], (marks[..., 1] - size).clamp(min=1e-30)
    return CAUTION * size.abs() * (fallen / came_down).clamp_(0.5, 5.0), marks


def _search(
    regressions: Regressions,
    logits: Float[Tensor, "b g k n"],
    change: Float[Tensor, "b g k n"],
    answers: Answers,
    slope: Float[Tensor, "b g"],
    of_penalty: Float[Tensor, "b g"],
    bend: Float[Tensor, "b g"],
) -> tuple[Tensor, Tensor, Answers, Tensor]:
    """How far to go along `change`; the slope, the answers and the logits there.

    Slopes are compared, not objectives: near the optimum objectives differ by less than the rounding
    of their sums. The objective is convex, so the slope rises along the way.
    """
    curvature = regressions.curvature(answers, change) + bend
    length = (-slope / curvature).masked_fill_(slope >= 0, 0)
    for _ in range(MAX_SEARCHES):
        moved = torch.addcmul(logits, change, length[..., None, None])
        answers = regressions.answers(moved)
        there = regressions.sum_ranks(dot(answers.residual, change)) + of_penalty + length * bend
        too_far = (slope < 0) & (there > -SLOPE_LEFT * slope)
        if not bool(too_far.any()):
            break
        secant = (slope / (slope - there)).clamp(0.1, 0.9)
        length = torch.where(too_far, length * secant, length)
    return length, there, answers, moved
