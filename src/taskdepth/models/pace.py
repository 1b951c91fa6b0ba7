"""`Pace`: sets the tasks' weights while they are learnt."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from jaxtyping import Float
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from taskdepth.models.balance import CoBa, SelfPaced
from taskdepth.models.scores import TaskMean
from taskdepth.models.targets import score_targets
from taskdepth.models.tuner import InstructionTuner


class Pace(Callback):
    """Every `every_n_steps` steps: the tasks' losses to the balancer, its weights to the tuner.

    `SelfPaced` looks at the training losses since the last time, `CoBa` at those of the next validation
    batch; batches are taken in turn, so a task is seen now and then, and one that is not trained on never.
    """

    def __init__(self, balancer: SelfPaced | CoBa, every_n_steps: int = 10) -> None:
        self._balancer = balancer
        self._every_n_steps = every_n_steps
        self._n_observed = 0
        self._totals: Float[Tensor, "2 n_tasks"] | None = None

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        tuner = pl_module
        due = trainer.global_step // self._every_n_steps
        if not isinstance(tuner, InstructionTuner) or due <= self._n_observed:
            return
        self._n_observed = due
        losses = (
            self._validation_losses(trainer, tuner)
            if self._balancer.validates
            else self._training_losses(tuner)
        )
        self._balancer.observe(losses, min(1.0, trainer.global_step / tuner.n_steps))
        tuner.task_weights.copy_(self._balancer.weights)

    def _training_losses(self, tuner: InstructionTuner) -> Float[Tensor, " n_tasks"]:
        totals = tuner.trained["loss"].sums()
        since = totals if self._totals is None else totals - self._totals
        self._totals = totals
        return since[0] / since[1]

    @torch.no_grad()
    def _validation_losses(
        self, trainer: lightning.Trainer, tuner: InstructionTuner
    ) -> Float[Tensor, " n_tasks"]:
        scoring = self._batch(trainer).to(tuner.device)
        tuner.lm.eval()
        targets = score_targets(tuner.lm, scoring.batch)
        tuner.lm.train()
        first = scoring.is_first
        losses = TaskMean(len(tuner.task_names)).to(tuner.device)
        losses.update(
            scoring.task_index, targets.by_example(targets.loss)[first], targets.n_tokens[first]
        )
        unseen = trainer.datamodule.unseen  # type: ignore[attr-defined]
        is_unseen = torch.tensor([name in unseen for name in tuner.task_names])
        # what is kept out of training has no say in it
        return losses.means().masked_fill(is_unseen.to(tuner.device), torch.nan)

    def _batch(self, trainer: lightning.Trainer) -> Any:
        batches = trainer.datamodule.validation  # type: ignore[attr-defined]
        return batches[(self._n_observed - 1) % len(batches)]

    def state_dict(self) -> dict[str, Any]:
        return {
            "balancer": self._balancer.state_dict(),
            "n_observed": self._n_observed,
            "totals": self._totals,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._balancer.load_state_dict(state_dict["balancer"])
        self._n_observed = state_dict["n_observed"]
        self._totals = state_dict["totals"]

    def on_fit_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if isinstance(pl_module, InstructionTuner):
            pl_module.task_weights.copy_(self._balancer.weights)
