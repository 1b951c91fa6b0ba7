"""The steps that several control models share: one pass through the model, a batch of each in it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import lightning
import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth import stopping
from taskdepth.config import TrainConfig
from taskdepth.data.collate import side_by_side, states_side_by_side
from taskdepth.data.module import TaskDataModule
from taskdepth.errors import ModelError, TaskdepthError
from taskdepth.models import adapters, joint
from taskdepth.models.bad_steps import OnBadStep, StepGuard, error
from taskdepth.models.balance import token_weights
from taskdepth.models.prefix import resumed
from taskdepth.models.ranking import score_answers
from taskdepth.models.scores import TaskScores
from taskdepth.models.targets import TargetTokens, score_targets
from taskdepth.models.tuner import VALIDATED, Schedule, keep_answers
from taskdepth.pipelines.fitting import FitReport, n_steps, optimizer_of, prefix_cache, prepared
from taskdepth.pipelines.learner import Learner, Turn
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import LMBatch

if TYPE_CHECKING:
    from peft import PeftModel


class Trainee(Protocol):
    """What a control model is made of, whichever task it is for."""

    def data(self, spec: TaskSpec) -> TaskDataModule:
        """Its rows; everything random begins here."""

    def wear(self, spec: TaskSpec, data: TaskDataModule) -> PeftModel:
        """The model under a new adapter."""

    def save(self, spec: TaskSpec, wrapped: PeftModel) -> None: ...


class Together:
    """What the learners share: the model, and the settings of a step."""

    def __init__(self, config: TrainConfig, lm: Any, fabric: lightning.Fabric) -> None:
        self._config = config
        self._lm = lm
        self._fabric = fabric

    def begin(self, spec: TaskSpec, trainee: Trainee) -> Learner:
        """A task's learner, before its first step.

        Raises:
            TaskdepthError: the task cannot be trained.
        """
        start_s = time.perf_counter()
        config, data = self._config, trainee.data(spec)
        data.val_dataloader()  # rows that cannot be read fail before anything is learnt
        wrapped = trainee.wear(spec, data)
        try:
            weights = joint.read(wrapped)
            prefix = prefix_cache(wrapped, data, config, n_caches=config.control.at_once)
        finally:
            adapters.detach(wrapped)
        if prefix is not None:
            with prepared(self._lm, config, data.batching.packed), self._fabric.autocast():
                prefix.fill(self._lm)
        total = n_steps(config, len(data.train_dataloader()))
        schedule = Schedule(total, **vars(config.scheduler))
        optimizer = optimizer_of(config)(joint.parameters(weights))
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: schedule.factor(step),  # a plain function is not put into checkpoints
        )
        guard = StepGuard(config.trainer.on_bad_step, data.training.name_of)
        return Learner(spec, data, weights, optimizer, scheduler, total, start_s, guard, prefix)

    def learn(
        self, learners: Sequence[Learner], keep: Callable[[], None] = lambda: None
    ) -> dict[Learner, TaskdepthError]:
        """Step by step, until one is done; returns those that end by a step that is no number.

        Where the process is asked to end, `keep` is called first.
        """
        self._lm.requires_grad_(False).train()
        failed: dict[Learner, TaskdepthError] = {}
        if not learners:
            return failed
        with (
            stopping.between_steps() as request,
            prepared(self._lm, self._config, learners[0].data.batching.packed),
        ):
            while not (failed or request.is_made or any(learner.is_done for learner in learners)):
                failed = self._step(learners)
            if request.is_made and not failed:
                keep()
        return failed

    def _step(self, learners: Sequence[Learner]) -> dict[Learner, TaskdepthError]:
        turns = [next(learner.batches) for learner in learners]
        failed: dict[Learner, TaskdepthError] = {}
        going = turns
        # one that is lost would pull the others along, in a backward pass through the same model
        while going and (lost := self._backward(going)):
            for turn in lost:
                for parameter in joint.parameters(turn.learner.weights):
                    parameter.grad = torch.full_like(parameter, torch.nan)
            going = [turn for turn in going if turn not in lost]
        for turn in turns:
            try:
                self._take(turn)
            except ModelError as error:
                failed[turn.learner] = error
        return failed

    def _backward(self, turns: Sequence[Turn]) -> list[Turn]:
        """Leave every learner's gradients, or return those without a finite loss and leave none."""
        batch = side_by_side([turn.batch for turn in turns]).to(self._fabric.device)
        with joint.worn(self._lm, [turn.learner.weights for turn in turns], batch):
            with self._fabric.autocast(), self._reused(turns):
                targets = score_targets(self._lm, batch)
            losses = _losses(targets, batch, len(turns), self._config.trainer.loss_balance)
            found = losses.tolist()
            lost = [
                turn for turn, loss in zip(turns, found, strict=True) if not math.isfinite(loss)
            ]
            of_rows = targets.by_example(targets.loss.detach())
            for i, turn in enumerate(turns):
                if turn in lost or not lost:  # the others are seen in the next attempt
                    turn.learner.guard.saw(turn.batch, of_rows[batch.task_index == i])
            if lost:
                return lost
            shares = losses.new_tensor([turn.batch.share for turn in turns])
            total = (losses * shares).sum() / self._config.trainer.accumulate_batches
            torch.autograd.backward(total)
        for turn, loss in zip(turns, found, strict=True):
            turn.learner.loss = loss
        return []

    def _reused(self, turns: Sequence[Turn]) -> AbstractContextManager[None]:
        """What lies below the lowest adapted block is not computed, where every learner has it."""
        caches = [turn.learner.prefix for turn in turns if turn.learner.prefix is not None]
        if len(caches) < len(turns):
            return nullcontext()
        states = states_side_by_side(
            [cache.states(turn.batch) for cache, turn in zip(caches, turns, strict=True)],
            packed=turns[0].batch.packed,
        )
        return resumed(self._lm, caches[0].first_block, states.to(self._fabric.device))

    def _take(self, turn: Turn) -> None:
        """An optimizer step, if the batch completes one; validation, if it completes an epoch."""
        learner, settings = turn.learner, self._config.trainer
        learner.n_batches = 0 if turn.is_last else turn.number
        if turn.number % settings.accumulate_batches == 0 or turn.is_last:
            parameters = list(joint.parameters(learner.weights))
            gradients = [p.grad for p in parameters if p.grad is not None]
            bad = learner.guard.judge(gradients, learner.step + 1, scaled=False)
            if bad is not None and learner.guard.action is OnBadStep.STOP:
                raise error(bad)
            if bad is not None:
                learner.guard.skip(bad, parameters)
            elif settings.gradient_clip_norm:
                torch.nn.utils.clip_grad_norm_(parameters, settings.gradient_clip_norm)
            learner.optimizer.step()
            learner.optimizer.zero_grad()
            learner.scheduler.step()
            learner.step += 1
        if not turn.is_last:
            return
        learner.epoch += 1
        patience = self._config.control.patience
        if patience is not None and learner.epoch % settings.val_every_n_epochs == 0:
            self._validate(learner)
            is_better = learner.validation["loss"] < learner.best_loss
            learner.best_loss = min(learner.best_loss, learner.validation["loss"])
            learner.n_worse = 0 if is_better else learner.n_worse + 1
            learner.is_stopped = learner.n_worse >= patience

    @torch.no_grad()
    def _validate(self, learner: Learner) -> None:
        self._lm.eval()
        scores = TaskScores(1, VALIDATED).to(self._fabric.device)
        for scoring in learner.data.val_dataloader():
            moved = scoring.to(self._fabric.device)
            with joint.worn(self._lm, [learner.weights], moved.batch), self._fabric.autocast():
                keep_answers(scores, score_answers(self._lm, moved), moved.task_index)
        learner.validation = scores.by_task([learner.spec.name])[learner.spec.name]
        learner.validated_at_step = learner.step
        self._lm.train()

    def finish(self, learner: Learner, trainee: Trainee) -> FitReport:
        """Validate and save a learner that is done."""
        if learner.validated_at_step != learner.step:
            with prepared(self._lm, self._config, learner.data.batching.packed):
                self._validate(learner)
        wrapped = trainee.wear(learner.spec, learner.data)
        try:
            joint.write(learner.weights, wrapped)
            trainee.save(learner.spec, wrapped)
        finally:
            adapters.detach(wrapped)
        return FitReport(
            steps=learner.step,
            epochs=learner.epoch,
            train_loss=learner.loss,
            validation={learner.spec.name: learner.validation},
            trained={},
            trainable_parameters=sum(p.numel() for p in joint.parameters(learner.weights)),
            seconds=time.perf_counter() - learner.start_s,
            reused_blocks=learner.prefix.first_block if learner.prefix else 0,
            skipped_steps=tuple(learner.guard.skipped),
        )


def _losses(
    targets: TargetTokens, batch: LMBatch, n_learners: int, balance: str
) -> Float[Tensor, " n_learners"]:
    """Each learner's loss on its own rows, weighted as if there were no others."""
    n_tokens = targets.n_tokens
    weights = torch.zeros_like(n_tokens)
    alone = n_tokens.new_ones(1)
    for i in range(n_learners):
        own = batch.task_index == i
        only_task = torch.zeros_like(batch.task_index[own])
        weights[own] = token_weights(balance, n_tokens[own], only_task, alone)
    found = torch.zeros(n_learners, device=n_tokens.device, dtype=targets.loss.dtype)
    of_token = batch.task_index[targets.example]
    return found.index_add(0, of_token, targets.loss * weights[targets.example])
