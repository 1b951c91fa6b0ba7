"""Where an adapter starts: from the base weights (PiSSA, CorDA, OLoRA), or from activations (EVA).

PiSSA, CorDA and OLoRA split a base weight W into a principal part B₀A₀, which is tuned, and a residual
W - B₀A₀ that PEFT writes into the base model. Here the base model is left as it is: the adapter is a LoRA of
twice the rank, [B, -B₀][A; A₀], whose second half never learns. It computes the same function and has the
same gradients, up to rounding and (where there is dropout) the dropout of -B₀A₀x; and it is what PEFT's own
conversion of such an adapter gives, so what is saved is plain LoRA for the untouched base model, and
reloading gives the trained model bit for bit.

PiSSA: Meng et al. 2024, arXiv:2404.02948; CorDA: Yang et al. 2024, arXiv:2406.05223; OLoRA: Büyükakyüz
2024, arXiv:2406.01775; EVA: Paischer et al. 2024, arXiv:2410.07170.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, initialize_lora_eva_weights
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.corda import preprocess_corda
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn.utils import parametrize

from taskdepth.errors import ModelError

ADAPTER = "default"  # PEFT's name for the only adapter
FROM_DATA = ("corda", "eva")
REFUSED = ("loftq", "lora_ga")

Calibration = Sequence[Mapping[str, Tensor]]


def kind(config: Any) -> str:
    """How `config` wants its weights initialised: `pissa`, `corda`, `olora`, `eva`, or empty.

    >>> kind(LoraConfig(init_lora_weights="pissa_niter_4"))
    'pissa'
    """
    name = str(getattr(config, "init_lora_weights", "")).lower().split("_niter_")[0]
    if name in REFUSED:
        raise ModelError(
            f"init_lora_weights={name} rewrites the base model: choose pissa, corda, olora or eva"
        )
    return name if name in ("pissa", "corda", "olora", "eva") else ""


def check_calibration(config: Any, calibration: Calibration) -> None:
    """Refuse a method that would have nothing to start from.

    Raises:
        ModelError: the method starts from activations, and there are no rows, or too short ones.
    """
    name = kind(config)
    if name not in FROM_DATA:
        return
    if not calibration:
        raise ModelError(
            f"{name} starts from activations: it needs calibration rows, none are given"
        )
    if name == "eva":
        needed = round(config.r * config.eva_config.rho)
        fewest = min(int(batch["attention_mask"].sum()) for batch in calibration)
        if fewest < needed:
            # PEFT would pass over such a batch, and never end if all of them are like that
            raise ModelError(
                f"eva needs {needed} tokens (r × rho) in each calibration batch, one has {fewest}: "
                "lower adapter.peft.r or raise adapter.calibration_rows"
            )


def start_from_activations(model: PeftModel, calibration: Calibration) -> None:
    """EVA: A becomes the directions in which each layer's input varies most; ranks follow the variance."""
    initialize_lora_eva_weights(model, _on_device(model, calibration), show_progress_bar=False)
    config = model.peft_config[ADAPTER]
    config.init_lora_weights, config.eva_config = True, None  # what is saved is plain LoRA


def wrap_from_weights(
    lm: nn.Module, config: LoraConfig, calibration: Calibration = ()
) -> PeftModel:
    """`lm` with a PiSSA, CorDA or OLoRA adapter beside its untouched weights.

    Raises:
        ValueError: PEFT cannot adapt this model.
    """
    if kind(config) == "corda":
        preprocess_corda(lm, config, run_model=lambda: _read_one_by_one(lm, calibration))
    starts = _starts(lm, config)
    model = get_peft_model(lm, _doubled(config))
    for name, module in model.get_base_model().named_modules():
        if isinstance(module, LoraLayer):
            start = starts[name]
            _learn_half(module.lora_A[ADAPTER], start.a, start.a, dim=0)
            _learn_half(module.lora_B[ADAPTER], start.b, -start.b, dim=1)
    return model


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The state of `model` with both halves of an adapter under the one name that PEFT looks for."""
    state = model.state_dict()
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            for key in [key for key in state if key.startswith(f"{name}.parametrizations.")]:
                del state[key]
            state[f"{name}.weight"] = module.weight.detach()
    return state


def strip(lm: nn.Module) -> None:
    """Take every adapter layer out of `lm`, however far PEFT came in putting them in."""
    found = {n: m for n, m in lm.named_modules() if isinstance(m, BaseTunerLayer)}
    inside = tuple(f"{name}." for name in found)
    for name, module in found.items():
        if not name.startswith(inside):  # one layer may wrap another
            lm.set_submodule(name, module.get_base_layer())
    if hasattr(lm, "peft_config"):
        del lm.peft_config  # PEFT would warn that the next adapter is the second one


@dataclass(frozen=True, slots=True)
class _Start:
    a: Tensor
    b: Tensor


class _AndFrozen(nn.Module):
    """A parametrization: what learns, and beside it what does not."""

    frozen: Tensor

    def __init__(self, frozen: Tensor, dim: int) -> None:
        super().__init__()
        self.register_buffer("frozen", frozen)
        self._dim = dim

    def forward(self, learnt: Tensor) -> Tensor:
        return torch.cat([learnt, self.frozen], self._dim)

    def right_inverse(self, whole: Tensor) -> Tensor:
        n_learnt = whole.shape[self._dim] - self.frozen.shape[self._dim]
        return whole.narrow(self._dim, 0, n_learnt).clone(memory_format=torch.contiguous_format)


def _learn_half(linear: nn.Module, learnt: Tensor, frozen: Tensor, dim: int) -> None:
    weight: Any = linear.weight
    with torch.no_grad():
        weight.copy_(torch.cat([learnt, frozen], dim))
    half = _AndFrozen(frozen.to(weight), dim)
    # unsafe: the parametrization changes the shape, which is what it is for
    parametrize.register_parametrization(linear, "weight", half, unsafe=True)


def _starts(lm: nn.Module, config: LoraConfig) -> dict[str, _Start]:
    """A₀ and B₀ of every adapted module, as PEFT initialises them; `lm` is itself again afterwards."""
    config = copy.deepcopy(config)
    weights = {
        name: p.data.clone() if kind(config) == "olora" else p.data  # only OLoRA writes in place
        for name, p in lm.named_parameters()
    }
    try:
        model = get_peft_model(lm, config)
        return {
            name: _Start(
                module.lora_A[ADAPTER].weight.detach().clone(),
                module.lora_B[ADAPTER].weight.detach().clone(),
            )
            for name, module in model.get_base_model().named_modules()
            if isinstance(module, LoraLayer)
        }
    finally:
        strip(lm)
        for name, p in lm.named_parameters():
            p.data = weights[name]


def _doubled(config: LoraConfig) -> LoraConfig:
    """Plain LoRA of twice the rank and the same scaling (alpha / r, or alpha / √r with rsLoRA)."""
    config = copy.deepcopy(config)
    config.init_lora_weights, config.corda_config = True, None
    same_scaling = math.sqrt(2) if config.use_rslora else 2
    config.r *= 2
    config.lora_alpha *= same_scaling
    config.rank_pattern = {name: 2 * rank for name, rank in config.rank_pattern.items()}
    config.alpha_pattern = {
        name: same_scaling * alpha for name, alpha in config.alpha_pattern.items()
    }
    return config


def _on_device(model: nn.Module, calibration: Calibration) -> list[dict[str, Tensor]]:
    device = next(model.parameters()).device
    return [{name: t.to(device) for name, t in batch.items()} for batch in calibration]


def _read_one_by_one(lm: nn.Module, calibration: Calibration) -> None:
    """PEFT takes the covariance of one unpadded row at a time."""
    for batch in _on_device(lm, calibration):
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
            lm(input_ids=ids[mask.bool()].unsqueeze(0), use_cache=False)
