"""`InstructionTuner`: the LightningModule that learns target tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import torch
from jaxtyping import Float, Int
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from taskdepth import ranks
from taskdepth.models.adalora import penalty
from taskdepth.models.bad_steps import OnBadStep, StepGuard, error
from taskdepth.models.balance import Balance, token_weights
from taskdepth.models.checkpoints import LAST, set_place
from taskdepth.models.ranking import AnswerScores, score_answers
from taskdepth.models.scores import TaskScores
from taskdepth.models.sharding import Sharding, shard
from taskdepth.models.targets import TargetTokens, score_targets
from taskdepth.seeds import stable_seed
from taskdepth.types import LMBatch

if TYPE_CHECKING:
    from taskdepth.data.batches import ScoringBatch
    from taskdepth.models.prefix_cache import PrefixCache

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


VALIDATED = ("loss", "exact_match", "rank_accuracy")


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


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a batch came to: its loss, and that of each example with its tokens and how many were right."""

    batch_loss: Float[Tensor, ""]
    task_index: Int[Tensor, " n"]
    loss: Float[Tensor, " n"]
    n_right: Float[Tensor, " n"]
    n_tokens: Float[Tensor, " n"]


class InstructionTuner(lightning.LightningModule):
    """Learns `lm` (all of it, or the adapter it wears) by the loss on target tokens.

    Validation scores every answer an example could have: the loss of its target, *exact match* (would
    greedy decoding give a right answer? by teacher forcing: every target token is the likeliest one), and
    for closed sets *rank accuracy* (is the likeliest answer right?).

    `recent` holds each task's training loss and token accuracy since it was last reset, `trained` those of
    the whole training. `task_weights` is what each task counts where the loss balance asks for it. With a
    `prefix` training starts from the states it holds, and fills it first.
    """

    def __init__(
        self,
        lm: nn.Module,
        task_names: Sequence[str],
        optimizer: OptimizerFactory,
        schedule: Schedule,
        balance: str = Balance.TOKEN,
        prefix: PrefixCache | None = None,
        guard: StepGuard | None = None,
        sharding: str = Sharding.NONE,
    ) -> None:
        super().__init__()
        self.lm = lm
        self.task_names = tuple(task_names)
        self.strict_loading = False  # checkpoints hold only what trains
        self._optimizer = optimizer
        self._schedule = schedule
        self._balance = balance
        self._prefix = prefix
        self._guard = guard
        self._seed = 0
        self.last_loss: Float[Tensor, ""] | None = None  # of a batch, and a number
        self._untold: list[_Seen] = []  # of the step under way
        self.n_steps = schedule.n_steps
        n_tasks = len(task_names)
        self.task_weights: Float[Tensor, " n_tasks"]
        self.register_buffer("task_weights", torch.ones(n_tasks), persistent=False)
        self.recent = TaskScores(n_tasks, ("loss", "accuracy"), over_ranks=True)
        self.trained = TaskScores(n_tasks, ("loss", "accuracy"), over_ranks=True)
        self.validated = TaskScores(n_tasks, VALIDATED, over_ranks=True)
        # what the optimizer holds, whether it rests at the moment or not
        self._learnt: set[str] = set()
        self._sharding, self._is_sharded = sharding, False
        self.validation: dict[str, dict[str, float]] = {}  # task → score → value, of the last one
        self.validated_at_step = -1

    def configure_model(self) -> None:
        if self._sharding != Sharding.NONE and not self._is_sharded:
            assert self.device_mesh is not None  # of the strategy that sharding comes with
            shard(self.lm, self.device_mesh["data_parallel"], self._sharding)
            self._is_sharded = True

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
        self._seed = torch.initial_seed()

    def on_train_start(self) -> None:
        if self._prefix is not None:
            with self.trainer.precision_plugin.forward_context():
                self._prefix.fill(self.lm)

    def training_step(self, batch: LMBatch, batch_idx: int) -> Tensor:
        place = (self.trainer.global_rank, self.current_epoch, batch_idx)
        torch.manual_seed(stable_seed(self._seed, *map(str, place)))
        with nullcontext() if self._prefix is None else self._prefix.reused(self.lm, batch):
            targets = score_targets(self.lm, batch)
        weights = token_weights(
            self._balance, targets.n_tokens, batch.task_index, self.task_weights, ranks.total
        )
        # the gradients of the ranks are averaged, not added up
        loss = (targets.loss * weights[targets.example]).sum() * batch.share * ranks.n_ranks()
        told = ranks.total(loss.detach()) / (batch.share * ranks.n_ranks())
        self.log("train/loss", told, prog_bar=True, batch_size=batch.n_examples)
        self._untold.append(self._seen(targets, batch, told))
        return loss + penalty(self.lm)

    @torch.no_grad()
    def _seen(self, targets: TargetTokens, batch: LMBatch, told: Float[Tensor, ""]) -> _Seen:
        n_tokens = targets.n_tokens
        loss = targets.by_example(targets.loss)
        if self._guard is not None:
            self._guard.saw(batch, loss)
        n_tokens = n_tokens * loss.isfinite()  # no mean is lost to a step that is left out
        loss = loss.nan_to_num(0.0, 0.0, 0.0)
        n_right = targets.by_example(targets.is_likeliest.float()) * (n_tokens > 0)
        return _Seen(told, batch.task_index, loss, n_right, n_tokens)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self._guard is not None:
            self._judge(self._guard, optimizer)
        # not before: a step that is not taken is in no score, and comes again
        for seen in self._untold:
            self._tell(seen)
        self._untold.clear()

    def _tell(self, seen: _Seen) -> None:
        before = seen.batch_loss if self.last_loss is None else self.last_loss
        self.last_loss = torch.where(seen.batch_loss.isfinite(), seen.batch_loss, before)
        for scores in (self.recent, self.trained):
            scores["loss"].update(seen.task_index, seen.loss, seen.n_tokens)
            scores["accuracy"].update(seen.task_index, seen.n_right, seen.n_tokens)

    def _judge(self, guard: StepGuard, optimizer: torch.optim.Optimizer) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        bad = guard.judge(
            (p.grad for p in parameters if p.grad is not None),
            self.trainer.global_step + 1,
            scaled=getattr(self.trainer.precision_plugin, "scaler", None) is not None,
        )
        if guard.action is OnBadStep.SKIP:
            if bad is not None:
                guard.skip(bad, parameters)
        elif bad is not None:
            raise error(bad, self._kept())

    def _kept(self) -> str:
        """Keep the state before the step that is not taken."""
        saver = self.trainer.checkpoint_callback
        if not isinstance(saver, ModelCheckpoint) or not saver.dirpath:
            return ""
        path = Path(saver.dirpath) / LAST
        self.trainer.save_checkpoint(path)
        return f" ({path})"

    def validation_step(self, scoring: ScoringBatch, batch_idx: int) -> None:
        scores = score_answers(self.lm, scoring)  # of a spare batch, too: ranks run side by side
        if not scoring.spare:
            keep_answers(self.validated, scores, scoring.task_index)

    def on_validation_epoch_end(self) -> None:
        for name in self.validated.names:
            value = self.validated[name].overall()
            on_all = ranks.is_joined()  # they have the same value, and Lightning wants to hear it
            self.log(f"val/{name}", value, prog_bar=name != "exact_match", sync_dist=on_all)

    def on_validation_end(self) -> None:
        self.validation = self.validated.by_task(self.task_names)
        self.validated_at_step = self.trainer.global_step

    def on_validation_start(self) -> None:
        self.validated.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if not self._is_sharded:  # those in parts are read back all together
            learning = {name for name, p in self.lm.named_parameters() if p.requires_grad}
            trained = {f"lm.{name}" for name in learning | self._learnt}
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {name: state[name] for name in state if name in trained}
        for key, scores in (("trained", self.trained), ("recent", self.recent)):
            checkpoint[key] = {name: scores[name].sums().cpu() for name in scores.names}
        checkpoint["last_loss"] = self.last_loss
        checkpoint["skipped_steps"] = self._guard.state_dict() if self._guard else []
        set_place(checkpoint, self.trainer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        tasks = torch.arange(len(self.task_names))
        for key, scores in (("trained", self.trained), ("recent", self.recent)):
            for name, sums in checkpoint.get(key, {}).items():
                if ranks.is_first():  # they are sums over all ranks
                    scores[name].update(tasks, sums[0], sums[1])
        self.last_loss = checkpoint.get("last_loss")
        if self._guard is not None:
            self._guard.load_state_dict(checkpoint.get("skipped_steps", []))


def keep_answers(validated: TaskScores, scores: AnswerScores, task: Int[Tensor, " n"]) -> None:
    """Add the scores of a batch to `validated`; `task` is the index of each example's task."""
    validated["loss"].update(task, scores.loss, scores.n_tokens)
    validated["exact_match"].update(task, scores.is_decoded.float())
    closed = scores.is_closed
    validated["rank_accuracy"].update(task[closed], scores.is_ranked[closed].float())
