"""`Choice`: the probes of one problem, each with the L2 that did best on rows held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from taskdepth.probing.cross_validation import cross_validate
from taskdepth.probing.folds import assign_folds
from taskdepth.probing.problem import ProbeProblem
from taskdepth.probing.scaling import Scaling
from taskdepth.probing.scores import log_probabilities
from taskdepth.probing.solver import LogisticFit, fit_path

# accuracies do not move below this gap to the optimum; the solver's default is for exact objectives
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One probe per label set and depth, fitted to the rows `fitted_on`, with the `l2` chosen for it."""

    fit: LogisticFit
    l2: Float[Tensor, "sets n_depths"]
    scaling: Scaling
    fitted_on: Int[Tensor, " n_fitted"]

    def predict(self, x: Float[Tensor, "n_depths n d"]) -> Int[Tensor, "sets n_depths n"]:
        """The most probable class of states as they were extracted."""
        return self.fit.predict(self.scaling.apply(x))

    def probabilities(
        self, x: Float[Tensor, "n_depths n d"]
    ) -> Float[Tensor, "sets n_depths n classes"]:
        """The probability of every class, of states as they were extracted."""
        return log_probabilities(self.fit, self.scaling.apply(x)).exp()

    def cpu(self) -> Choice:
        """The same probes in main memory."""
        return Choice(
            LogisticFit(*(getattr(self.fit, field.name).cpu() for field in fields(LogisticFit))),
            self.l2.cpu(),
            self.scaling.to("cpu"),
            self.fitted_on.cpu(),
        )


def choose(
    problem: ProbeProblem,
    y: Int[Tensor, "sets n"],
    l2s: Sequence[float],
    folds: int | None = None,
    seed: int = 0,
) -> Choice:
    """Fit the path of `l2s` and choose one per label set and depth; of equals, the largest.

    Without `folds` the validation rows choose between fits to the training rows. With k folds, each
    of training and validation rows is held out once, and the choice is fitted to all of them. All
    folds are scaled as those rows together are, as is the final fit: an L2 means the same in both, and
    one decomposition serves every fold. A fold's probes so know the mean and deviation of the states
    they are judged on, but none of their labels. The test rows are not touched.

    Raises:
        DataError: there are fewer rows than folds.
    """
    l2s = sorted(l2s)
    if folds is None:
        inside = problem.is_train.nonzero()[:, 0]
        path = _path(problem, y, l2s, inside)
        right = _right(problem, y, path, problem.is_validation.nonzero()[:, 0])
    else:
        inside = (problem.is_train | problem.is_validation).nonzero()[:, 0]
        fold = assign_folds(problem.y[inside], folds, seed)
        right = _right_by_folds(problem, y, l2s, inside, fold)
        path = _path(problem, y, l2s, inside)
    best = len(l2s) - 1 - right.flip(0).argmax(dim=0)
    fits, scaling = path
    l2 = torch.tensor(l2s, dtype=torch.float64)[best.cpu()]
    return Choice(picked(fits, best), l2, scaling, inside)


def _right_by_folds(
    problem: ProbeProblem,
    y: Int[Tensor, "sets n"],
    l2s: Sequence[float],
    rows: Int[Tensor, " n_rows"],
    fold: Int[Tensor, " n_rows"],
) -> Int[Tensor, "l2s sets n_depths"]:
    """How many of `rows` each l2 gets right, every row answered by probes that have not seen it."""
    accuracy = cross_validate(
        _scaling(problem, rows).apply(problem.x[:, rows]),
        y[:, None, rows],
        l2s,
        fold,
        n_classes=len(problem.class_names),
        tolerance=TOLERANCE,
    )
    # counts: equal ones must be equal, whatever a mean was rounded to
    return (accuracy * len(rows)).round().long()


def _scaling(problem: ProbeProblem, rows: Int[Tensor, " n_rows"]) -> Scaling:
    x = problem.x[:, rows]
    return Scaling.none(x) if problem.is_scaled else Scaling.of(x)


def _path(
    problem: ProbeProblem,
    y: Int[Tensor, "sets n"],
    l2s: Sequence[float],
    rows: Int[Tensor, " n_rows"],
) -> tuple[list[LogisticFit], Scaling]:
    scaling = _scaling(problem, rows)
    x, n_classes = scaling.apply(problem.x[:, rows]), len(problem.class_names)
    fits = fit_path(x, y[:, None, rows], l2s, n_classes=n_classes, tolerance=TOLERANCE)
    return fits, scaling


def _right(
    problem: ProbeProblem,
    y: Int[Tensor, "sets n"],
    path: tuple[list[LogisticFit], Scaling],
    rows: Int[Tensor, " n_rows"],
) -> Int[Tensor, "l2s sets n_depths"]:
    """How many of `rows` each fit of the path gets right."""
    fits, scaling = path
    x = scaling.apply(problem.x[:, rows])
    return torch.stack([(fit.predict(x) == y[:, None, rows]).sum(dim=-1) for fit in fits])


def picked(fits: Sequence[LogisticFit], best: Int[Tensor, "sets n_depths"]) -> LogisticFit:
    """One fit per problem out of several: that of number `best`."""
    sets, depths = torch.meshgrid(
        *(torch.arange(size, device=best.device) for size in best.shape), indexing="ij"
    )
    return LogisticFit(
        *(
            torch.stack([getattr(fit, field.name) for fit in fits])[best, sets, depths]
            for field in fields(LogisticFit)
        )
    )
