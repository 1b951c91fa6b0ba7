"""`InstructionTuner`: the LightningModule that learns target tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightning
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from taskdepth.models.adalora import penalty
from taskdepth.models.routing import routed
from taskdepth.models.scores import TaskMean
from taskdepth.types import LMBatch

if TYPE_CHECKING:
    from taskdepth.data.batches import ScoringBatch

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear warm-up over a fraction of `n_steps`, then cosine decay to zero, or constant.

    The number of steps is told and not asked of Lightning: `estimated_stepping_batches` would set up
    the loaders before a checkpoint's position in them is known, and it would be lost.
    """

    n_steps: int
    shape: str = "cosine"
    warmup_fraction: float = 0.0

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied by at `step`.

        >>> schedule = Schedule(4, "cosine", warmup_fraction=0.5)
        >>> [round(schedule.factor(step), 2) for step in range(4)]
        [0.5, 1.0, 1.0, 0.5]
        """
        n_warmup = round(self.warmup_fraction * self.n_steps)
        if step < n_warmup:
            return (step + 1) / n_warmup
        if self.shape == "constant":
            return 1.0
        progress = (step - n_warmup) / max(1, self.n_steps - n_warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


@contextmanager
def only_at(lm: nn.Module, positions: Bool[Tensor, "b s"]) -> Iterator[None]:
    """Inside, `lm` computes logits at `positions` alone: `[1, n_positions, vocabulary]`.

    The states are selected where they enter the output embeddings, so whatever a model does to its logits
    afterwards (scaling, soft-capping) still happens.
    """

    def select(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0][positions].unsqueeze(0), *args[1:])

    head = lm.get_output_embeddings()  # type: ignore[operator]  # of every Hugging Face model
    handle = head.register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()


def target_logits(
    lm: nn.Module, batch: LMBatch
) -> tuple[Float[Tensor, "n_targets vocabulary"], Int[Tensor, " n_targets"]]:
    """Logits where a target token comes next, and those tokens; rows of the batch in order."""
    positions = batch.is_target
    with only_at(lm, positions), routed(lm, batch.task_index):
        output = lm(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    next_tokens = batch.labels.roll(-1, dims=1)[positions]
    return output.logits[0], next_tokens


def balanced(
    token_loss: Float[Tensor, " n_targets"], batch: LMBatch, balance: str
) -> Float[Tensor, ""]:
    """The mean over target tokens (`token`), or over the rows' own means (`example`)."""
    if balance == "token":
        return token_loss.mean()
    row = batch.is_target.nonzero()[:, 0]
    n_tokens = _sum_by(row, torch.ones_like(token_loss), len(batch.input_ids))
    means = _sum_by(row, token_loss, len(batch.input_ids)) / n_tokens.clamp(min=1)
    return means.sum() / (n_tokens > 0).sum()


class InstructionTuner(lightning.LightningModule):
    """Learns `lm` (all of it, or the adapter it wears) by the loss on target tokens.

    Validation scores every answer an example could have: the loss of its target, *exact match* (would
    greedy decoding give a right answer? by teacher forcing: every target token is the likeliest one), and
    for closed sets *rank accuracy* (is the likeliest answer right?).
    """

    def __init__(
        self,
        lm: nn.Module,
        task_names: Sequence[str],
        optimizer: OptimizerFactory,
        schedule: Schedule,
        loss_balance: str = "token",
    ) -> None:
        super().__init__()
        self.lm = lm
        self.task_names = tuple(task_names)
        self.strict_loading = False  # checkpoints hold only what trains
        self._optimizer = optimizer
        self._schedule = schedule
        self._loss_balance = loss_balance
        self._learnt: set[str] = (
            set()
        )  # what the optimizer holds, whether it rests at the moment or not
        self.validation: dict[str, dict[str, float]] = {}  # task → score → value, of the last one
        self.validated_at_step = -1
        self.loss = TaskMean(len(task_names))
        self.exact_match = TaskMean(len(task_names))
        self.rank_accuracy = TaskMean(len(task_names))

    def configure_optimizers(self) -> Any:
        learnt = {name: p for name, p in self.lm.named_parameters() if p.requires_grad}
        self._learnt = set(learnt)
        optimizer = self._optimizer(learnt.values())
        schedule = self._schedule
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: schedule.factor(step),  # a plain function is not put into checkpoints
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_fit_start(self) -> None:
        self.lm.train()  # from_pretrained returns eval mode, and Lightning would keep it

    def training_step(self, batch: LMBatch, batch_idx: int) -> Tensor:
        logits, tokens = target_logits(self.lm, batch)
        token_loss = functional.cross_entropy(logits.float(), tokens, reduction="none")
        loss = balanced(token_loss, batch, self._loss_balance)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.input_ids))
        return loss + penalty(self.lm)

    def validation_step(self, scoring: ScoringBatch, batch_idx: int) -> None:
        batch = scoring.batch
        logits, tokens = target_logits(self.lm, batch)
        row = batch.is_target.nonzero()[:, 0]
        token_loss = functional.cross_entropy(logits.float(), tokens, reduction="none")
        row_loss = _sum_by(row, token_loss, len(batch.input_ids))
        n_tokens = _sum_by(row, torch.ones_like(token_loss), len(batch.input_ids))
        n_wrong = _sum_by(row, (logits.argmax(-1) != tokens).float(), len(batch.input_ids))
        self._score(scoring, row_loss, n_tokens, n_wrong)

    def _score(
        self,
        scoring: ScoringBatch,
        row_loss: Float[Tensor, " b"],
        n_tokens: Float[Tensor, " b"],
        n_wrong: Float[Tensor, " b"],
    ) -> None:
        task = scoring.task_index
        n = len(task)
        first = torch.ones_like(scoring.is_right)
        first[1:] = scoring.example[1:] != scoring.example[:-1]
        self.loss.update(task, row_loss[first], n_tokens[first])
        decoded = scoring.is_right & (n_wrong == 0)
        self.exact_match.update(task, (_sum_by(scoring.example, decoded.float(), n) > 0).float())
        closed = _sum_by(scoring.example, (~scoring.is_right).float(), n) > 0
        best = _min_by(scoring.example, row_loss, n)
        best_is_right = scoring.is_right & (row_loss == best[scoring.example])
        ranked = (_sum_by(scoring.example, best_is_right.float(), n) > 0).float()
        self.rank_accuracy.update(task[closed], ranked[closed])

    def on_validation_epoch_end(self) -> None:
        for name, metric in self._scores().items():
            self.log(f"val/{name}", metric.overall(), prog_bar=name != "exact_match")

    def on_validation_end(self) -> None:
        self.validation = self._validation_by_task()
        self.validated_at_step = self.trainer.global_step
        for metric in self._scores().values():
            metric.reset()

    def _validation_by_task(self) -> dict[str, dict[str, float]]:
        """The scores of the last validation, by task; a score that a task does not have is left out."""
        by_task: dict[str, dict[str, float]] = {name: {} for name in self.task_names}
        for score, metric in self._scores().items():
            for task, value in zip(self.task_names, metric.by_task(), strict=True):
                if not math.isnan(value):
                    by_task[task][score] = value
        return by_task

    def _scores(self) -> dict[str, TaskMean]:
        return {
            "loss": self.loss,
            "exact_match": self.exact_match,
            "rank_accuracy": self.rank_accuracy,
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        learning = {name for name, p in self.lm.named_parameters() if p.requires_grad}
        trained = {f"lm.{name}" for name in learning | self._learnt}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: state[name] for name in state if name in trained}


def _sum_by(index: Int[Tensor, " k"], values: Float[Tensor, " k"], n: int) -> Float[Tensor, " n"]:
    return torch.zeros(n, device=values.device, dtype=values.dtype).index_add_(0, index, values)


def _min_by(index: Int[Tensor, " k"], values: Float[Tensor, " k"], n: int) -> Float[Tensor, " n"]:
    start = torch.full((n,), torch.inf, device=values.device, dtype=values.dtype)
    return start.scatter_reduce_(0, index, values, "amin")
