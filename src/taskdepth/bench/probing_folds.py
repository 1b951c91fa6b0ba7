"""All L2 values on all folds, against one fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from taskdepth.bench.row import BenchRow
from taskdepth.bench.timing import wall_s

if TYPE_CHECKING:
    from torch import Tensor

    from taskdepth.bench.probing_problems import BenchProblem

L2 = 1.0  # of the one fit
N_FOLDS = 5
L2S = tuple(10 ** (4 * i / 9) for i in range(10))  # 1 to 10,000
FOLDS_LIMIT = 3.0  # of the time of one fit
CHOICE_TOLERANCE = 0.01  # of accuracy


def folds_against_one_fit(problems: Sequence[BenchProblem]) -> list[BenchRow]:
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


def _fold(y: Tensor) -> Tensor:
    import torch

    return torch.arange(len(y)) % N_FOLDS


def _total_s(work: Callable[[BenchProblem], Any], problems: Sequence[BenchProblem]) -> float:
    return sum(wall_s(partial(work, problem)) for problem in problems)


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
