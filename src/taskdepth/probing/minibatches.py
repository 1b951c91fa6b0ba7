"""`MinibatchProbes`: the probes of a problem whose states do not fit into memory.

All depths, label sets and values of L2 are trained at once, from batches of rows that are read as they
are needed. What is held are the parameters, four times over, and a batch.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import lightning
import torch
from jaxtyping import Float, Int
from rich.progress import track
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from taskdepth.errors import ConfigError
from taskdepth.probing.choice import Choice, picked
from taskdepth.probing.part import LogisticFit
from taskdepth.probing.problem import StreamedProblem
from taskdepth.probing.result import Answers, Extras, ProbeResult, label_sets, result_of, seed_of
from taskdepth.probing.scaling import Scaling
from taskdepth.probing.streaming import Batch, RowBatches, streamed_scaling
from taskdepth.ranks import all_devices

MIN_GAIN = 1e-3  # of the validation loss, relative: less does not keep the training going


@dataclass(frozen=True, slots=True)
class Minibatches:
    """How probes are trained: `batch_rows` of all ranks make a step of AdamW with the rate `lr`.

    Training ends after `max_epochs`, or when for `patience` epochs no probe got better on the
    validation rows.
    """

    batch_rows: int = 1024
    lr: float = 3e-3
    max_epochs: int = 50
    patience: int = 3


class MinibatchProbes(lightning.LightningModule):
    """Stacked linear layers: one per depth, whose columns are every L2, label set and class.

    The loss of a batch estimates the objective of `fit_logistic` over the number of training rows, so
    an L2 means the same to both. It stands in the loss, since the optimum under AdamW's own decay is
    another (Loshchilov & Hutter 2019, arXiv:1711.05101, section 2), which is therefore off. Weights are
    averaged over the steps of an epoch (Polyak & Juditsky 1992): that takes away what is left of the
    batches' noise. The averages are judged on the validation rows, and every probe keeps those of its
    best epoch.
    """

    _penalty: Tensor

    def __init__(
        self,
        problem: StreamedProblem,
        y: Int[Tensor, "sets n"],
        l2s: Sequence[float],
        settings: Minibatches,
        seed: int,
    ) -> None:
        super().__init__()
        self._problem, self._y, self._settings, self._seed = problem, y, settings, seed
        self._l2s = torch.tensor(sorted(l2s), dtype=torch.float64)
        self._train = problem.is_train.nonzero()[:, 0]
        n_depths, _, d = problem.states.shape
        bias = _start(y[:, self._train], len(problem.class_names))
        self._columns = (len(l2s), *bias.shape)  # l2s, sets, columns
        bias = bias.expand(self._columns).reshape(1, 1, -1)
        self.weight = nn.Parameter(torch.zeros(n_depths, d, bias.shape[-1]))
        self.bias = nn.Parameter(bias.repeat(n_depths, 1, 1))
        penalty = self._l2s / (2 * len(self._train))
        penalty = penalty.repeat_interleave(bias.shape[-1] // len(l2s)).float()
        self.register_buffer("_penalty", penalty, persistent=False)
        self.scaling: Scaling | None = None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self._settings.lr, weight_decay=0.0)

    def train_dataloader(self) -> RowBatches:
        return self._batches(self._train, self._seed)

    def val_dataloader(self) -> RowBatches:
        return self._batches(self._problem.is_validation.nonzero()[:, 0])

    def _batches(self, rows: Int[Tensor, " k"], seed: int | None = None) -> RowBatches:
        rank, n_ranks = self.trainer.global_rank, self.trainer.world_size
        size = self._settings.batch_rows
        return RowBatches(self._problem.states, self._y, rows, size, seed, rank, n_ranks)

    def on_fit_start(self) -> None:
        """One pass over the training rows before the first step: what all of them are scaled by."""
        self.scaling = Scaling.none(self.weight)
        if not self._problem.is_scaled:
            found = streamed_scaling(self._batches(self._train), self._sum_over_ranks)
            self.scaling = found.to(self.device)
        self._mean = [parameter.detach().clone() for parameter in self.parameters()]
        self._best = [mean.clone() for mean in self._mean]
        shape = (len(self.weight), *self._columns[:2])
        self._best_loss = torch.full(shape, torch.inf, dtype=torch.float64, device=self.device)
        self._best_right = torch.zeros_like(self._best_loss)
        self._goal, self._n_idle = self._best_loss.clone(), 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        x, y, n_rows = batch
        log_p = self._log_probabilities(x, self.weight, self.bias)
        # the gradients of the ranks are averaged, not added up
        loss = -_of_labels(log_p, y).sum() * (self.trainer.world_size / n_rows)
        return loss + (self._penalty * self.weight.square()).sum()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        for mean, parameter in zip(self._mean, self.parameters(), strict=True):
            mean.lerp_(parameter.detach(), 1 / (batch_idx + 1))

    def on_validation_epoch_start(self) -> None:
        self._loss, self._right = (torch.zeros_like(self._best_loss) for _ in range(2))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        x, y, _ = batch
        log_p = self._log_probabilities(x, *self._mean)
        self._loss -= _of_labels(log_p, y).sum(dim=1, dtype=torch.float64)
        right = log_p.argmax(dim=-1) == y.T[:, None]
        self._right += right.sum(dim=1)

    def on_validation_epoch_end(self) -> None:
        loss, right = self._sum_over_ranks(self._loss), self._sum_over_ranks(self._right)
        better = loss < self._best_loss
        self._best_loss = torch.where(better, loss, self._best_loss)
        self._best_right = torch.where(better, right, self._best_right)
        for best, mean in zip(self._best, self._mean, strict=True):
            self._by_probe(best)[:] = torch.where(
                better[:, None, ..., None], self._by_probe(mean), self._by_probe(best)
            )
        gained = loss < (1 - MIN_GAIN) * self._goal
        self._goal = torch.where(gained, loss, self._goal)
        self._n_idle = 0 if bool(gained.any()) else self._n_idle + 1
        self.trainer.should_stop = self._n_idle >= self._settings.patience

    def choice(self) -> Choice:
        """The probes of the L2 that answers most validation rows; of equals, the largest."""
        if self.scaling is None:
            raise RuntimeError("there is nothing to choose from before fit")
        right = self._best_right.permute(1, 2, 0)  # l2s, sets, depths
        best = len(right) - 1 - right.flip(0).argmax(dim=0)
        weight, bias = (self._by_probe(of_all).permute(2, 3, 0, 1, 4) for of_all in self._best)
        # known of every batch, while the weights moved
        objective = torch.full(right.shape, torch.nan, dtype=torch.float64, device=right.device)
        converged = torch.zeros(right.shape, dtype=torch.bool, device=right.device)
        fits = [
            LogisticFit(weight[i], bias[i, ..., 0, :], objective[i], converged[i])
            for i in range(len(self._l2s))
        ]
        l2 = self._l2s[best.cpu()]
        return Choice(picked(fits, best), l2, self.scaling, self._train).cpu()

    def _by_probe(self, parameter: Tensor) -> Float[Tensor, "n_depths rows l2s sets columns"]:
        return parameter.view(*parameter.shape[:-1], *self._columns)

    def _log_probabilities(
        self, x: Tensor, weight: Tensor, bias: Tensor
    ) -> Float[Tensor, "n_depths b l2s sets classes"]:
        logits = torch.baddbmm(bias, cast("Scaling", self.scaling).apply(x), weight)
        logits = self._by_probe(logits)
        if logits.shape[-1] == 1:
            return logsigmoid(torch.cat([-logits, logits], dim=-1))
        return logits.log_softmax(dim=-1)

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        summed: Tensor = self.trainer.strategy.reduce(values.to(self.device), reduce_op="sum")
        return summed


def _start(y: Int[Tensor, "sets n"], n_classes: int) -> Float[Tensor, "sets columns"]:
    """The biases that answer with the class frequencies; one row more of each class keeps them finite."""
    frequency = torch.stack([of_set.bincount(minlength=n_classes) + 1 for of_set in y])
    log = frequency.float().log().log_softmax(dim=-1)
    return log[:, 1:] - log[:, :1] if n_classes == 2 else log


def _of_labels(
    log_p: Float[Tensor, "n_depths b l2s sets classes"], y: Int[Tensor, "sets b"]
) -> Float[Tensor, "n_depths b l2s sets"]:
    label = y.T[:, None, :, None].expand(*log_p.shape[:-1], 1)
    return log_p.gather(-1, label)[..., 0]


class StreamedProblems(Protocol):
    """A list of problems that are made when they are asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> StreamedProblem: ...


def fit_in_minibatches(
    problems: StreamedProblems,
    settings: Minibatches,
    *,
    l2s: Sequence[float],
    seed: int,
    extras: Extras | None = None,
    accelerator: str = "auto",
    progress: bool = True,
) -> list[ProbeResult]:
    """`fit_probes` for states that do not fit into memory, close to the optimum and not at it.

    Where `torch.distributed` runs, its ranks work on the same problem, each on its share of every batch,
    and every rank gets all results.

    Raises:
        ConfigError: `extras` ask for the online code length, which needs the states in memory.
        DataError: a problem has nothing to tell apart, or an empty split.
    """
    extras = extras or Extras()
    if extras.mdl:
        raise ConfigError("the online code length needs the states in memory: probe.solver=optimum")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    results = []
    for index in track(range(len(problems)), "probe", disable=not progress):
        problem = problems[index]
        y = label_sets(problem, extras, seed)
        order = seed_of(problem, seed, "minibatches")
        probes = MinibatchProbes(problem, y, l2s, settings, order)
        _trainer(settings, accelerator).fit(probes)
        choice = probes.choice()
        answers = _answers(problem, choice, settings.batch_rows, bool(extras.scores))
        results.append(result_of(problem, y, choice, answers, extras, seed))
    return results


def _trainer(settings: Minibatches, accelerator: str) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=settings.max_epochs,
        accelerator=accelerator,
        **all_devices(accelerator),
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )


def _answers(
    problem: StreamedProblem, choice: Choice, batch_rows: int, with_probability: bool
) -> Answers:
    """What the probes say of the test rows, each read once."""
    predicted, probability = [], []
    for rows in torch.split(problem.is_test.nonzero()[:, 0], batch_rows):
        x = problem.states.read(rows)
        predicted.append(choice.predict(x))
        if with_probability:
            probability.append(choice.probabilities(x)[0])
    return Answers(
        torch.cat(predicted, dim=-1), torch.cat(probability, dim=1) if with_probability else None
    )
