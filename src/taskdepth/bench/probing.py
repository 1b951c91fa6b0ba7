"""Probes: `fit_logistic` against scikit-learn in a loop, many fits against one, and memory."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskdepth.bench.probing_folds import folds_against_one_fit
from taskdepth.bench.probing_memory import PROBES_L2S, memory
from taskdepth.bench.row import BenchRow
from taskdepth.bench.timing import timed
from taskdepth.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from taskdepth.bench.probing_problems import BenchProblem

GOAL = 15.0
AGREEMENT = 1e-4  # relative gap of the objectives
L2 = 1.0
DEFAULT_TOLERANCE = 1e-7  # of fit_logistic
# scikit-learn is tried with these, one after the other; the first that agrees is the one timed.
# Its default solver sees no gain smaller than 64 float64 roundings of 1 in the mean loss, whatever the
# tolerance: on states as they are that may leave the objective of separable labels too far above.
BY_DEFAULT = (
    *(("lbfgs", "float32", tolerance) for tolerance in (1e-4, 1e-6)),
    *(("lbfgs", "float64", tolerance) for tolerance in (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)),
    *(("newton-cg", "float64", tolerance) for tolerance in (1e-7, 1e-8, 1e-9)),
)
BY_NEWTON = (
    *(("newton-cg", "float32", tolerance) for tolerance in (1e-4, 1e-6)),
    *(("newton-cg", "float64", 10.0**-digits) for digits in range(4, 10)),
)
Tries = Sequence[tuple[str, str, float]]
THEIR_MAX_STEPS = 100_000


@dataclass(frozen=True, slots=True)
class Work:
    """What both sides fit at every depth of a problem."""

    standardised: bool
    l2s: tuple[float, ...]
    control_task: bool  # the labels shuffled, as well as in order
    tolerance: float  # ours
    theirs: Tries = BY_DEFAULT


@dataclass(frozen=True, slots=True)
class Times:
    """One problem at all its depths, by both sides."""

    ours_s: float
    theirs_s: float
    gap: float  # the largest difference of their objectives, relative


def run(model: Path | None, data: Path | None, every: int) -> list[BenchRow]:
    """Every comparison at each `every`-th depth, which keeps scikit-learn to minutes; memory at all depths.

    Raises:
        ModelError: scikit-learn is not installed, or only one of --model and --data is given.
    """
    if (model is None) != (data is None):
        raise ModelError("--model and --data go together: one reads the prompts of the other")
    from taskdepth.bench import probing_problems
    from taskdepth.probing.choice import TOLERANCE

    if model is None or data is None:
        problems = list(probing_problems.synthetic())
    else:
        problems = list(probing_problems.real(model, data))
    states = Work(standardised=False, l2s=(L2,), control_task=False, tolerance=DEFAULT_TOLERANCE)
    single = Work(standardised=True, l2s=(L2,), control_task=False, tolerance=DEFAULT_TOLERANCE)
    probes = Work(standardised=True, l2s=PROBES_L2S, control_task=True, tolerance=TOLERANCE)
    by_newton = partial(replace, theirs=BY_NEWTON)

    def against(name: str, work: Work, goal: float | None) -> BenchRow:
        return _against_sklearn(name, problems, work, every, goal)

    return [
        against("states as they are, l2 = 1", states, GOAL),
        against("standardised, l2 = 1", single, None),
        against("standardised, 4 l2, control task", probes, GOAL),
        against("states as they are, l2 = 1, by newton-cg", by_newton(states), None),
        against("standardised, 4 l2, control task, by newton-cg", by_newton(probes), None),
        *folds_against_one_fit([_thinned(problem, every) for problem in problems]),
        memory(max(problems, key=lambda problem: problem.x.numel())),
    ]


def _thinned(problem: BenchProblem, every: int) -> BenchProblem:
    """The problem at each `every`-th depth."""
    x, states = (t[::every].contiguous() for t in (problem.x, problem.states))
    return replace(problem, x=x, states=states)


def _against_sklearn(
    name: str, problems: Sequence[BenchProblem], work: Work, every: int, goal: float | None
) -> BenchRow:
    times = [_compared(problem, work, every) for problem in problems]
    ours_s, theirs_s = sum(t.ours_s for t in times), sum(t.theirs_s for t in times)
    gap = max(t.gap for t in times)
    n_depths = len(problems[0].x[::every])
    return BenchRow(
        f"{name}: {len(problems) - 1} tasks and task identity, {n_depths} depths",
        "LogisticRegression in a loop, its tolerance as loose as agrees to 1e-4",
        ratio=theirs_s / ours_s,
        goal=goal,
        ours_s=ours_s,
        theirs_s=theirs_s,
        agreement=gap,
        agrees=gap <= AGREEMENT,
    )


def _compared(problem: BenchProblem, work: Work, every: int) -> Times:
    import torch

    from taskdepth.probing.control_tasks import shuffled_labels
    from taskdepth.probing.solver import fit_path

    x = (problem.x if work.standardised else problem.states)[::every].contiguous()
    y, n_classes = problem.y[None], problem.n_classes
    if work.control_task:
        y = torch.cat([y, shuffled_labels(problem.y, 0)[None]])
    fits, ours_s = timed(
        lambda: fit_path(x, y[:, None], work.l2s, n_classes=n_classes, tolerance=work.tolerance)
    )
    theirs_s = gap = 0.0
    for l2, fit in zip(work.l2s, fits, strict=True):
        for labels, of_labels in zip(y, fit.objective.tolist(), strict=True):
            for states, expected in zip(x, of_labels, strict=True):
                seconds, objective = _sklearn(states, labels, l2, expected, work.theirs)
                theirs_s += seconds
                gap = max(gap, abs(objective - expected) / expected)
    return Times(ours_s, theirs_s, gap)


def _sklearn(x: Tensor, y: Tensor, l2: float, expected: float, tries: Tries) -> tuple[float, float]:
    """The time of the first fit that comes near `expected`, and its objective."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise ModelError("scikit-learn is not installed: pip install scikit-learn") from None
    seconds = objective = float("inf")
    for solver, dtype, tolerance in tries:
        theirs = LogisticRegression(
            solver=solver, C=1 / l2, tol=tolerance, max_iter=THEIR_MAX_STEPS
        )
        given = x.numpy().astype(dtype), y.numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a line search that gave up shows in the objective
            start_s = time.perf_counter()
            theirs.fit(*given)
            seconds = time.perf_counter() - start_s
        objective = _objective(theirs, x, y, l2)
        if abs(objective - expected) <= AGREEMENT * expected:
            break
    return seconds, objective


def _objective(fitted: Any, x: Tensor, y: Tensor, l2: float) -> float:
    """Ours, at the parameters that scikit-learn found; in float64."""
    import torch
    from torch.nn.functional import cross_entropy

    weight, bias = torch.tensor(fitted.coef_).double(), torch.tensor(fitted.intercept_).double()
    logits = x.double() @ weight.T + bias
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    loss = cross_entropy(logits, y, reduction="sum")
    return float(loss + l2 / 2 * weight.square().sum())
