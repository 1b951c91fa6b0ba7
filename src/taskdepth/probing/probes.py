"""`LinearProbes`: a linear probe per depth for every problem, fitted to the optimum and chosen honestly."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import lightning
import torch
from jaxtyping import Bool, Float, Int
from rich.progress import Progress
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy

from taskdepth.probing.choice import Choice, choose
from taskdepth.probing.control_tasks import shuffled_labels
from taskdepth.probing.description_length import DescriptionLength, description_length
from taskdepth.probing.intervals import interval
from taskdepth.probing.problem import ProbeProblem
from taskdepth.probing.ranks import in_shares, own_devices
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


class Problems(Protocol):
    """A list of problems that are made when they are asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> ProbeProblem: ...


class LinearProbes(lightning.LightningModule):
    """Every batch is one problem: its probes at all depths, for the true labels and the control task.

    The optimum is found by a solver and not by epochs of gradient steps, so one epoch is one fit:
    `training_step` fits the path of L2 values, lets rows held out choose one per depth (the validation
    rows, or k folds), and measures on the test rows. Only `ProbeResult`s are kept.
    """

    def __init__(
        self,
        l2s: Sequence[float],
        seed: int,
        folds: int | None = None,
        extras: Extras | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.results: list[ProbeResult] = []
        self.on_result: Callable[[], None] = lambda: None  # for a progress bar
        self._l2s = sorted(l2s)
        self._seed = seed
        self._folds = folds
        self._extras = extras or Extras()

    def configure_optimizers(self) -> list[Any]:
        return []  # the solver is the optimizer

    def training_step(self, problem: ProbeProblem, batch_idx: int) -> None:
        y = problem.y[None]
        if self._extras.control_task:
            y = self._with_control_task(problem)
        choice = choose(problem, y, self._l2s, self._folds, self._seed_of(problem, "folds"))
        self.results.append(self._result(problem, y, choice))
        self.on_result()

    def _seed_of(self, problem: ProbeProblem, what: str) -> int:
        return stable_seed(self._seed, problem.target, problem.task, what)

    def _with_control_task(self, problem: ProbeProblem) -> Int[Tensor, "2 n"]:
        seed = self._seed_of(problem, "control task")
        return torch.stack([problem.y, shuffled_labels(problem.y.cpu(), seed).to(problem.y.device)])

    def _result(self, problem: ProbeProblem, y: Int[Tensor, "2 n"], choice: Choice) -> ProbeResult:
        extras, test = self._extras, problem.is_test
        x, y_test = problem.x[:, test], problem.y[test].cpu()
        # [sets, n_depths, n_test]: true labels, control task
        right = (choice.predict(x) == y[:, None, test]).cpu()
        accuracy = right[0].double().mean(dim=-1)
        n = len(y_test)
        seed = self._seed_of(problem, "interval")
        lower, upper = interval(accuracy, n, extras.interval, seed)
        mdl_seed = self._seed_of(problem, "description length")
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
                scored(extras.scores, choice.probabilities(x)[0], y_test) if extras.scores else {}
            ),
            description_length=(
                description_length(problem, self._l2s, mdl_seed) if extras.mdl else None
            ),
            coverage=problem.coverage,
            probes=choice.cpu() if extras.keep_probes else None,
        )


def _majority(problem: ProbeProblem, choice: Choice) -> float:
    y_test = problem.y[problem.is_test].cpu()
    answer = problem.y[choice.fitted_on].cpu().bincount().argmax().expand(len(y_test))
    n_classes = len(problem.class_names)
    return float(multiclass_accuracy(answer, y_test, num_classes=n_classes, average="micro"))


def _recalls(problem: ProbeProblem, right: Bool[Tensor, "n_depths n_test"]) -> list[Recall]:
    if problem.group is None:
        return []
    group = problem.group[problem.is_test].cpu()
    rows = [(names, group == number) for number, names in enumerate(problem.groups)]
    return [
        Recall(task, cluster, right[:, mask].double().mean(dim=-1), int(mask.sum()))
        for (task, cluster), mask in rows
        if bool(mask.any())
    ]


def fit_probes(
    problems: Problems,
    *,
    l2s: Sequence[float],
    seed: int,
    folds: int | None = None,
    extras: Extras | None = None,
    accelerator: str = "auto",
    progress: bool = True,
    costs: Sequence[float] | None = None,
) -> list[ProbeResult]:
    """The results of all `problems`, in their order; one problem is in memory at a time.

    Where `torch.distributed` runs, the problems are dealt over its ranks by `costs` (all alike by
    default), and every rank gets all results.

    Raises:
        DataError: a problem has nothing to tell apart, or an empty split.
    """

    def fit(share: list[int]) -> list[ProbeResult]:
        return _fit_share(
            problems, share, LinearProbes(l2s, seed, folds, extras), accelerator, progress
        )

    return in_shares([1.0] * len(problems) if costs is None else costs, fit)


def _fit_share(
    problems: Problems, share: list[int], probes: LinearProbes, accelerator: str, progress: bool
) -> list[ProbeResult]:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    if not share:
        return []
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator=accelerator,
        devices=own_devices(accelerator),
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    with Progress(disable=not progress) as bar:
        job = bar.add_task("probe", total=len(share))
        probes.on_result = lambda: bar.advance(job)
        trainer.fit(probes, _Loader(problems, share))
    return probes.results


class _Loader:
    """One problem after the other."""

    def __init__(self, problems: Problems, share: list[int]) -> None:
        self._problems, self._share = problems, share

    def __len__(self) -> int:
        return len(self._share)

    def __iter__(self) -> Iterator[ProbeProblem]:
        return (self._problems[index] for index in self._share)
