"""AdaLoRA: ranks move to the layers that need them while tuning goes on.

Two things happen outside the forward pass: after each step the least important singular values are masked,
and the loss keeps the singular vectors orthogonal. PEFT does the latter only where it computes the loss
itself, which it does not here.

Zhang et al. 2023, arXiv:2303.10512.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from peft import AdaLoraConfig, AdaLoraModel
from peft.tuners.adalora import AdaLoraLayer
from torch import Tensor, nn

# where PEFT keeps what it has learnt about the importance of each weight
IMPORTANCES = ("ipt", "exp_avg_ipt", "exp_avg_unc")


def is_adalora(model: nn.Module) -> bool:
    """Whether `model` wears an AdaLoRA adapter."""
    return isinstance(getattr(model, "base_model", None), AdaLoraModel)


def times(n_steps: int, options: dict[str, Any]) -> dict[str, int]:
    """When ranks are moved in a run of `n_steps`, where `options` leaves it open.

    The first tenth keeps all ranks, the last three tenths keep what was decided.

    >>> times(100, {"tinit": None, "tfinal": 0})
    {'total_step': 100, 'tinit': 10}
    """
    filled = {"total_step": n_steps, "tinit": n_steps // 10, "tfinal": 3 * n_steps // 10}
    return {name: value for name, value in filled.items() if options.get(name) is None}


def penalty(lm: nn.Module) -> Tensor | float:
    """The orthogonality term of the paper's loss; 0 for any other model.

    The mean over all matrices of ‖PᵀP - I‖, as PEFT has it, times `orth_reg_weight`.
    """
    if not is_adalora(lm):
        return 0.0
    base: Any = lm.base_model
    name = base.trainable_adapter_name
    terms = []
    for module in lm.modules():
        if isinstance(module, AdaLoraLayer):
            right, left = module.lora_A[name], module.lora_B[name]
            for gram in (right @ right.T, left.T @ left):
                terms.append(
                    torch.linalg.norm(
                        gram - torch.eye(len(gram), device=gram.device, dtype=gram.dtype)
                    )
                )
    weight: float = base.peft_config[name].orth_reg_weight
    return weight * torch.stack(terms).mean()


class RankSchedule(Callback):
    """Tells AdaLoRA of every optimizer step, while the gradients it judges by are still there."""

    def __init__(self, model: nn.Module) -> None:
        self._tuner: Any = model.base_model
        self._step = 0
        self._restored: dict[str, Any] = {}

    @property
    def _config(self) -> AdaLoraConfig:
        return self._tuner.peft_config[self._tuner.trainable_adapter_name]

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._step = trainer.global_step
        if self._restored:
            self._config.rank_pattern = self._restored["rank_pattern"]
            for name in IMPORTANCES:
                kept = {k: v.to(pl_module.device) for k, v in self._restored[name].items()}
                setattr(self._tuner.rankallocator, name, kept)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.global_step > self._step:  # not while gradients accumulate
            self._step = trainer.global_step
            if all(parameter.grad is None for parameter in pl_module.parameters()):
                return  # a step that was left out
            self._tuner.update_and_allocate(self._step)

    def state_dict(self) -> dict[str, Any]:
        kept = {name: getattr(self._tuner.rankallocator, name) for name in IMPORTANCES}
        return {**kept, "rank_pattern": self._config.rank_pattern}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict  # the model is on its device later
