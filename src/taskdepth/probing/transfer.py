"""Transfer: a probe trained on one task, tested on another that has the same label set."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from taskdepth.errors import DataError
from taskdepth.probing.choice import Choice
from taskdepth.probing.intervals import interval
from taskdepth.probing.problem import ProbeProblem


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """Accuracy at every depth, with its 95 % interval, on the test rows of one task of the probes of
    the task `source`."""

    source: str
    accuracy: Float[Tensor, " n_depths"]
    lower: Float[Tensor, " n_depths"]
    upper: Float[Tensor, " n_depths"]


def transfer(
    probes: Choice, source: str, problem: ProbeProblem, kind: str = "wilson", seed: int = 0
) -> Transfer:
    """Test the probes of the task `source` on `problem`, scaled as their own training rows were.

    `kind` and `seed` are those of the interval.

    Raises:
        DataError: the two do not have the same number of depths, dimensions or classes.
    """
    columns, n_classes = probes.fit.weight.shape[-1], len(problem.class_names)
    expected = (problem.x.shape[0], problem.x.shape[-1], 1 if n_classes == 2 else n_classes)
    found = (*probes.fit.weight.shape[1:3], columns)
    if found != expected:
        raise DataError(
            f"probes of {source} ({found[0]} depths, {found[1]} dimensions, {found[2]} columns) "
            f"do not fit {problem.task} {expected}"
        )
    test = problem.is_test
    right = probes.predict(problem.x[:, test])[0] == problem.y[test]
    accuracy = right.double().mean(dim=-1).cpu()
    return Transfer(source, accuracy, *interval(accuracy, right.shape[-1], kind, seed))
