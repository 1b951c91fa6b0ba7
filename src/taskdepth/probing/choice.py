"""`Choice`: the probes of one problem, each with the L2 that did best on rows held out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from taskdepth.probing.cross_validation import cross_validate
from taskdepth.probing.folds import assign_folds
from taskdepth.probing.part import part_size
from taskdepth.probing.problem import ProbeProblem
from taskdepth.probing.scaling import Scaling
from taskdepth.probing.scores import log_probabilities
from taskdepth.probing.solver import LogisticFit, fit_path

# gap to the optimum that moves accuracies by a row or none; the solver's default is for objectives
TOLERANCE = 3e-5


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One probe per label set and depth, fitted to the rows `fitted_on`, with the `l2` chosen for it."""

    fit: LogisticFit
    l2: Float[Tensor, "sets n_depths"]
    scaling: Scaling
    fitted_on: Int[Tensor, " n_fitted"]

    def predict(self, x: Float[Tensor, "n_depths n d"]) -> Int[Tensor, "sets n_depths n"]:
        """The most probable class of states as they were extracted."""
        return torch.cat([one.fit.predict(one.scaling.apply(of)) for one, of in self._each(x)], 1)

    def probabilities(
        self, x: Float[Tensor, "n_depths n d"]
    ) -> Float[Tensor, "sets n_depths n classes"]:
        """The probability of every class, of states as they were extracted."""
        each = [log_probabilities(one.fit, one.scaling.apply(of)) for one, of in self._each(x)]
        return torch.cat(each, dim=1).exp_()

    def _each(self, x: Float[Tensor, "n_depths n d"]) -> Iterator[tuple[Choice, Tensor]]:
        """Depth by depth, so that the scaled copies are small beside the states."""
        for i in range(len(x)):
            at = slice(i, i + 1)
            fit = LogisticFit(*(values[:, at] for values in _values(self.fit)))
            scaling = Scaling(self.scaling.mean[at], self.scaling.deviation[at])
            yield Choice(fit, self.l2[:, at], scaling, self.fitted_on), x[at]

    def cpu(self) -> Choice:
        """The same probes in main memory."""
        return Choice(
            LogisticFit(*(values.cpu() for values in _values(self.fit))),
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
        rows, fold = problem.is_train.nonzero()[:, 0], None
    else:
        rows = (problem.is_train | problem.is_validation).nonzero()[:, 0]
        fold = assign_folds(problem.y[rows], folds, seed)
    # some depths after the others, so that the scaled copies are small beside the states
    size = part_size(problem.x, len(rows), len(y) * len(problem.class_names) * len(l2s))
    found = [
        _chosen(replace(problem, x=x), y, l2s, rows, fold) for x in torch.split(problem.x, size)
    ]
    return Choice(
        LogisticFit(
            *(
                torch.cat(values, 1)
                for values in zip(*(_values(part.fit) for part in found), strict=True)
            )
        ),
        torch.cat([part.l2 for part in found], dim=1),
        Scaling(
            torch.cat([part.scaling.mean for part in found]),
            torch.cat([part.scaling.deviation for part in found]),
        ),
        rows,
    )


def _values(fit: LogisticFit) -> list[Tensor]:
    return [getattr(fit, field.name) for field in fields(LogisticFit)]


def _chosen(
    problem: ProbeProblem,
    y: Int[Tensor, "sets n"],
    l2s: Sequence[float],
    rows: Int[Tensor, " n_rows"],
    fold: Int[Tensor, " n_rows"] | None,
) -> Choice:
    """The choice at all depths of `problem`, fitted to `rows`."""
    x, n_classes = problem.x[:, rows], len(problem.class_names)
    scaling = Scaling.none(x) if problem.is_scaled else Scaling.of(x)
    x = scaling.apply(x)
    fits = fit_path(x, y[:, None, rows], l2s, n_classes=n_classes, tolerance=TOLERANCE)
    if fold is None:
        held_out = problem.is_validation.nonzero()[:, 0]
        judged = scaling.apply(problem.x[:, held_out])
        right = torch.stack(
            [(fit.predict(judged) == y[:, None, held_out]).sum(dim=-1) for fit in fits]
        )
    else:
        accuracy = cross_validate(x, y[:, None, rows], l2s, fold, n_classes=n_classes)
        # counts: equal ones must be equal, whatever a mean was rounded to
        right = (accuracy * len(rows)).round().long()
    best = len(l2s) - 1 - right.flip(0).argmax(dim=0)
    l2 = torch.tensor(l2s, dtype=torch.float64)[best.cpu()]
    return Choice(picked(fits, best), l2, scaling, rows)


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
