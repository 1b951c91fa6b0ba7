"""`ProbeResult`: what the probes of one problem came to on its test rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy

from taskdepth.probing.choice import Choice
from taskdepth.probing.control_tasks import shuffled_labels
from taskdepth.probing.description_length import DescriptionLength
from taskdepth.probing.intervals import interval
from taskdepth.probing.problem import Question
from taskdepth.probing.scores import scored
from taskdepth.seeds import stable_seed


@dataclass(frozen=True, slots=True)
class Extras:
    """What is told beside accuracy, and how.

    `interval`: `wilson` or `bootstrap`. `scores`: names in `taskdepth.probing.scores`. `mdl`: the
    online code length too. `keep_probes`: results keep the probes, to test them on other tasks. Without
    `control_task` its accuracy is NaN.
    """

    interval: str = "wilson"
    scores: tuple[str, ...] = ()
    mdl: bool = False
    keep_probes: bool = False
    control_task: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Recall:
    """Test accuracy on the rows of one group (a task or a cluster), at every depth."""

    task: str
    cluster: str
    value: Float[Tensor, " n_depths"]
    n: int


@dataclass(frozen=True, slots=True, eq=False)
class ProbeResult:
    """What came of one problem, at every depth, on `n` test rows that were touched once.

    `majority`: test accuracy of always answering the most frequent class of the training rows.
    `control_task_accuracy`: of probes trained and chosen in the same way on shuffled labels; `selectivity`
    is the accuracy above it. `l2`: what the rows held out chose. `lower`, `upper`: 95 % interval.
    `coverage`: the share of test rows that take part, where not all do. `probes`: None unless asked for.
    """

    model: str
    role: str
    task: str
    cluster: str
    target: str
    pooling: str
    n: int
    accuracy: Float[Tensor, " n_depths"]
    lower: Float[Tensor, " n_depths"]
    upper: Float[Tensor, " n_depths"]
    majority: float
    control_task_accuracy: Float[Tensor, " n_depths"]
    l2: Float[Tensor, " n_depths"]
    recalls: tuple[Recall, ...]
    scores: Mapping[str, Float[Tensor, " n_depths"]] = field(default_factory=dict)
    description_length: DescriptionLength | None = None
    coverage: float | None = None
    probes: Choice | None = None

    @property
    def selectivity(self) -> Float[Tensor, " n_depths"]:
        return self.accuracy - self.control_task_accuracy


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What the chosen probes say of the test rows; `probability` is that of the true labels' probes, and
    None where no score needs it."""

    predicted: Int[Tensor, "sets n_depths n_test"]
    probability: Float[Tensor, "n_depths n_test classes"] | None


def seed_of(problem: Question, seed: int, what: str) -> int:
    """What is drawn for a problem: the same for every model and pooling."""
    return stable_seed(seed, problem.target, problem.task, what)


def label_sets(problem: Question, extras: Extras, seed: int) -> Int[Tensor, "sets n"]:
    """What probes are fitted to: the true labels, and those of the control task where it is asked for."""
    if not extras.control_task:
        return problem.y[None]
    control = shuffled_labels(problem.y.cpu(), seed_of(problem, seed, "control task"))
    return torch.stack([problem.y, control.to(problem.y.device)])


def result_of(
    problem: Question,
    y: Int[Tensor, "sets n"],
    choice: Choice,
    answers: Answers,
    extras: Extras,
    seed: int,
    description_length: DescriptionLength | None = None,
) -> ProbeResult:
    """The answers of the probes `choice` beside the labels `y`: the true ones, and the control task."""
    y_test = problem.y[problem.is_test].cpu()
    right = (answers.predicted == y[:, None, problem.is_test]).cpu()
    accuracy = right[0].double().mean(dim=-1)
    n = len(y_test)
    lower, upper = interval(accuracy, n, extras.interval, seed_of(problem, seed, "interval"))
    return ProbeResult(
        model=problem.model,
        role=problem.role,
        task=problem.task,
        cluster=problem.cluster,
        target=problem.target,
        pooling=problem.pooling,
        n=n,
        accuracy=accuracy,
        lower=lower,
        upper=upper,
        majority=_majority(problem, choice),
        control_task_accuracy=(
            right[1].double().mean(dim=-1)
            if extras.control_task
            else torch.full_like(accuracy, torch.nan)
        ),
        l2=choice.l2[0],
        recalls=tuple(_recalls(problem, right[0])),
        scores=(
            {}
            if answers.probability is None
            else scored(extras.scores, answers.probability, y_test)
        ),
        description_length=description_length,
        coverage=problem.coverage,
        probes=choice.cpu() if extras.keep_probes else None,
    )


def _majority(problem: Question, choice: Choice) -> float:
    y_test = problem.y[problem.is_test].cpu()
    answer = problem.y[choice.fitted_on].cpu().bincount().argmax().expand(len(y_test))
    n_classes = len(problem.class_names)
    return float(multiclass_accuracy(answer, y_test, num_classes=n_classes, average="micro"))


def _recalls(problem: Question, right: Bool[Tensor, "n_depths n_test"]) -> list[Recall]:
    if problem.group is None:
        return []
    group = problem.group[problem.is_test].cpu()
    rows = [(names, group == number) for number, names in enumerate(problem.groups)]
    return [
        Recall(task, cluster, right[:, mask].double().mean(dim=-1), int(mask.sum()))
        for (task, cluster), mask in rows
        if bool(mask.any())
    ]
