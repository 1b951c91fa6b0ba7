"""`LinearProbes`: a linear probe per depth for every problem, fitted to the optimum and chosen honestly."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import lightning

from taskdepth import terminal
from taskdepth.probing.choice import choose
from taskdepth.probing.description_length import description_length
from taskdepth.probing.problem import ProbeProblem
from taskdepth.probing.result import (
    Answers,
    Extras,
    ProbeResult,
    label_sets,
    result_of,
    seed_of,
)
from taskdepth.ranks import in_shares, own_devices


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
        extras, seed = self._extras, self._seed
        y = label_sets(problem, extras, seed)
        choice = choose(problem, y, self._l2s, self._folds, seed_of(problem, seed, "folds"))
        x = problem.x[:, problem.is_test]
        answers = Answers(choice.predict(x), choice.probabilities(x)[0] if extras.scores else None)
        mdl = None
        if extras.mdl:
            order = seed_of(problem, seed, "description length")
            mdl = description_length(problem, self._l2s, order)
        self.results.append(result_of(problem, y, choice, answers, extras, seed, mdl))
        self.on_result()


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
    with terminal.progress("problems", disable=not progress) as bar:
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
