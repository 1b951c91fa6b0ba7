"""Probes: `fit_logistic` against scikit-learn in a loop, many fits against one, and memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from taskdepth.bench.memory import peak_bytes
from taskdepth.bench.row import BenchRow
from taskdepth.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from taskdepth.bench.probing_problems import BenchProblem

GOAL = 15.0
AGREEMENT = 1e-4  # relative gap of the objectives
L2 = 1.0
PROBES_L2S = (1.0, 10.0, 100.0, 1000.0)  # as in conf/probe
DEFAULT_TOLERANCE = 1e-7  # of fit_logistic
N_FOLDS = 5
L2S = tuple(10 ** (4 * i / 9) for i in range(10))  # 1 to 10,000
FOLDS_LIMIT = 3.0  # of the time of one fit
MEMORY_LIMIT = 1.5  # of the activations' size
CHOICE_TOLERANCE = 0.01  # of accuracy
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
Result = TypeVar("Result")


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
        *_folds_against_one_fit([_thinned(problem, every) for problem in problems]),
        _memory(max(problems, key=lambda problem: problem.x.numel())),
    ]


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
    fits, ours_s = _timed(
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


def _folds_against_one_fit(problems: Sequence[BenchProblem]) -> list[BenchRow]:
    """All L2 values on all folds, to choose by and to the optimum, against one fit."""
    import torch

    from taskdepth.probing.choice import TOLERANCE
    from taskdepth.probing.cross_validation import cross_validate
    from taskdepth.probing.solver import fit_logistic, fit_path

    def one(p: BenchProblem) -> Any:
        return fit_logistic(p.x, p.y, L2, n_classes=p.n_classes)

    def one_loosely(p: BenchProblem) -> Any:
        return fit_logistic(p.x, p.y, L2, n_classes=p.n_classes, tolerance=TOLERANCE)

    def choice(p: BenchProblem) -> Any:
        return cross_validate(p.x, p.y, L2S, _fold(p.y), n_classes=p.n_classes)

    def fits(p: BenchProblem) -> Any:
        fold = _fold(p.y)
        weight = (fold != torch.arange(N_FOLDS)[:, None]).float()[:, None]
        return fit_path(p.x, p.y, L2S, weight=weight, n_classes=p.n_classes)

    cost = max(_lost_by_choice(problem) for problem in problems)
    one_s, choice_s = _total_s(one, problems), _total_s(choice, problems)
    one_loosely_s = _total_s(one_loosely, problems)
    return [
        _of_limit("to choose by", one_s, choice_s, goal=1.0, agreement=cost),
        _of_limit(f"against a fit within {TOLERANCE:g}", one_loosely_s, choice_s),
        _of_limit("every fit to the optimum", one_s, _total_s(fits, problems)),
    ]


def _thinned(problem: BenchProblem, every: int) -> BenchProblem:
    """The problem at each `every`-th depth."""
    x, states = (t[::every].contiguous() for t in (problem.x, problem.states))
    return replace(problem, x=x, states=states)


def _fold(y: Tensor) -> Tensor:
    import torch

    return torch.arange(len(y)) % N_FOLDS


def _total_s(work: Callable[[BenchProblem], Any], problems: Sequence[BenchProblem]) -> float:
    return sum(_timed(partial(work, problem))[1] for problem in problems)


def _of_limit(
    name: str,
    one_s: float,
    ours_s: float,
    goal: float | None = None,
    agreement: float | None = None,
) -> BenchRow:
    return BenchRow(
        f"{len(L2S)} l2 x {N_FOLDS} folds, {name}: {ours_s / one_s:.2f} x one fit",
        f"{FOLDS_LIMIT:g} x one fit ({one_s:.2f} s)",
        ratio=FOLDS_LIMIT * one_s / ours_s,
        goal=goal,
        ours_s=ours_s,
        agreement=agreement,
        agrees=None if agreement is None else agreement <= CHOICE_TOLERANCE,
    )


def _lost_by_choice(problem: BenchProblem) -> float:
    """Accuracy that the l2 chosen loosely loses to the one chosen exactly, at worst."""
    from taskdepth.probing.cross_validation import cross_validate

    x, fold, n_classes = problem.x, _fold(problem.y), problem.n_classes
    loose = cross_validate(x, problem.y, L2S, fold, n_classes=n_classes)
    exact = cross_validate(x, problem.y, L2S, fold, n_classes=n_classes, tolerance=1e-8)
    chosen = exact.gather(0, loose.argmax(dim=0, keepdim=True))[0]
    return float((exact.amax(dim=0) - chosen).max())


def _memory(problem: BenchProblem) -> BenchRow:
    """How far a process grows beyond the activations it reads, at its peak."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.pt"
        torch.save((problem.states, problem.y), path)
        command = [sys.executable, "-m", "taskdepth.bench.probing", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise ModelError(f"the memory measurement failed: {last}")
    used_bytes = json.loads(done.stdout)["used_bytes"]
    size_bytes = problem.x.numel() * problem.x.element_size()
    return BenchRow(
        f"peak memory of {problem.name}, {used_bytes / size_bytes:.2f} x the activations",
        f"{MEMORY_LIMIT} x the activations ({size_bytes / 2**20:.0f} MiB)",
        ratio=MEMORY_LIMIT * size_bytes / used_bytes,
        goal=1.0,
    )


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    start_s = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start_s


def main() -> None:
    """The process that `_memory` starts: the activations, and their probes as `probe.py` fits them."""
    import torch

    from taskdepth.probing.choice import choose
    from taskdepth.probing.control_tasks import shuffled_labels
    from taskdepth.probing.problem import ProbeProblem

    def probe(x: Tensor, y: Tensor) -> None:
        part = torch.arange(len(y)) % 6
        names = tuple(map(str, range(int(y.max()) + 1)))
        problem = ProbeProblem(
            model="",
            role="",
            task="",
            cluster="",
            target="",
            pooling="",
            class_names=names,
            x=x,
            y=y,
            is_train=part < 4,
            is_validation=part == 4,
            is_test=part == 5,
        )
        choice = choose(problem, torch.stack([y, shuffled_labels(y, 0)]), PROBES_L2S)
        choice.predict(x[:, problem.is_test])

    probe(torch.randn(2, 40, 30), torch.arange(40) % 3)  # what is set up once is not counted
    before_bytes = peak_bytes()
    x, y = torch.load(Path(sys.argv[1]), weights_only=True)
    probe(x, y)
    print(json.dumps({"used_bytes": peak_bytes() - before_bytes}))


if __name__ == "__main__":
    main()
