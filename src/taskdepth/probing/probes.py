"""`LinearProbes`: a linear probe per depth for every problem, fitted to the optimum and chosen honestly."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import lightning
import torch
from jaxtyping import Bool, Float, Int
from rich.progress import Progress
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy

from taskdepth.probing.control_tasks import shuffled_labels
from taskdepth.probing.problem import ProbeProblem
from taskdepth.probing.ranks import in_shares, own_devices
from taskdepth.probing.solver import LogisticFit, fit_path
from taskdepth.seeds import stable_seed

# accuracies do not move below this gap to the optimum; the solver's default is for exact objectives
TOLERANCE = 1e-5
Z_95 = 1.959963984540054  # the normal distribution's 97.5 % point


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
    is the accuracy above it. `l2`: what the validation rows chose. `lower`, `upper`: 95 % Wilson interval.
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
    `training_step` fits the path of L2 values on the training rows, lets the validation rows choose one per
    depth, and measures on the test rows. Only `ProbeResult`s are kept.
    """

    def __init__(self, l2s: Sequence[float], seed: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.results: list[ProbeResult] = []
        self.on_result: Callable[[], None] = lambda: None  # for a progress bar
        self._l2s = sorted(l2s)
        self._seed = seed

    def configure_optimizers(self) -> list[Any]:
        return []  # the solver is the optimizer

    def training_step(self, problem: ProbeProblem, batch_idx: int) -> None:
        y = self._with_control_task(problem)
        x = standardised(problem.x, problem.is_train)
        train, chosen_on, test = problem.is_train, problem.is_validation, problem.is_test
        fits = fit_path(
            x[:, train],
            y[:, None, train],
            self._l2s,
            n_classes=len(problem.class_names),
            tolerance=TOLERANCE,
        )
        choice = _choose(fits, x[:, chosen_on], y[:, None, chosen_on])
        predicted = torch.stack([fit.predict(x[:, test]) for fit in fits])
        depths = torch.arange(x.shape[0], device=x.device)
        right = torch.stack(
            [predicted[choice[i], i, depths] == y[i, test] for i in range(2)]
        )  # [2, n_depths, n_test]: true labels, control task
        self.results.append(_result(problem, right, torch.tensor(self._l2s)[choice[0].cpu()]))
        self.on_result()

    def _with_control_task(self, problem: ProbeProblem) -> Int[Tensor, "2 n"]:
        seed = stable_seed(self._seed, problem.target, problem.task, "control task")
        return torch.stack([problem.y, shuffled_labels(problem.y.cpu(), seed).to(problem.y.device)])


def standardised(
    x: Float[Tensor, "n_depths n d"], is_train: Bool[Tensor, " n"]
) -> Float[Tensor, "n_depths n d"]:
    """Each dimension of each depth to mean 0 and deviation 1 over the training rows.

    One L2 then means the same at every depth, however large its states are. A dimension without variance
    stays constant. In float32, after centring in float64.
    """
    x = x.double()
    train = x[:, is_train]
    mean = train.mean(dim=1, keepdim=True)
    deviation = train.std(dim=1, keepdim=True, correction=0)
    # rounding leaves a constant dimension a tiny deviation, which would blow up what is not there
    constant = deviation <= 1e-9 * mean.abs()
    return ((x - mean) / deviation.masked_fill(constant, 1.0)).masked_fill(constant, 0.0).float()


def _choose(
    fits: Sequence[LogisticFit],
    x: Float[Tensor, "n_depths n d"],
    y: Int[Tensor, "2 1 n"],
) -> Int[Tensor, "2 n_depths"]:
    """Which fit of the path does best on the validation rows; of equals, the largest L2."""
    accuracy = torch.stack([(fit.predict(x) == y).double().mean(dim=-1) for fit in fits])
    return len(fits) - 1 - accuracy.flip(0).argmax(dim=0)


def _result(
    problem: ProbeProblem,
    right: Bool[Tensor, "2 n_depths n_test"],
    l2: Float[Tensor, " n_depths"],
) -> ProbeResult:
    right = right.cpu()
    y_test, y_train = problem.y[problem.is_test].cpu(), problem.y[problem.is_train].cpu()
    n = len(y_test)
    accuracy = right[0].double().mean(dim=-1)
    lower, upper = wilson_interval(accuracy, n)
    constant_answer = y_train.bincount().argmax().expand(n)
    majority = multiclass_accuracy(
        constant_answer, y_test, num_classes=len(problem.class_names), average="micro"
    )
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
        majority=float(majority),
        control_task_accuracy=right[1].double().mean(dim=-1),
        l2=l2.double(),
        recalls=tuple(_recalls(problem, right[0])),
    )


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


def wilson_interval(
    accuracy: Float[Tensor, " *shape"], n: int
) -> tuple[Float[Tensor, " *shape"], Float[Tensor, " *shape"]]:
    """The 95 % score interval of a share of `n` (Wilson 1927).

    >>> lower, upper = wilson_interval(torch.tensor([1.0], dtype=torch.float64), 10)
    >>> round(float(lower), 4), round(float(upper), 4)
    (0.7225, 1.0)
    """
    centre = accuracy + Z_95**2 / (2 * n)
    half = Z_95 * (accuracy * (1 - accuracy) / n + Z_95**2 / (4 * n**2)).sqrt()
    scale = 1 + Z_95**2 / n
    return ((centre - half) / scale).clamp(min=0.0), ((centre + half) / scale).clamp(max=1.0)


def fit_probes(
    problems: Problems,
    *,
    l2s: Sequence[float],
    seed: int,
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
        return _fit_share(problems, share, LinearProbes(l2s, seed), accelerator, progress)

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
