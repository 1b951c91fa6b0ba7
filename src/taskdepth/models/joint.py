"""Several LoRA adapters on one model in one step: each row goes through its own.

The model runs once for the rows of all tasks. Beside each adapted matrix lie the A of all tasks, stacked,
and their B; what a token gets from another task's A is set to 0 before the B. So it costs two narrow
matrix products, as a single adapter does, and each task's loss and gradient are what they are alone, up
to rounding.

LoRA: Hu et al. 2021, arXiv:2106.09685.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import Linear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional

from taskdepth import layers
from taskdepth.models.prefix_cache import is_constant
from taskdepth.models.starts import ADAPTER
from taskdepth.types import LMBatch


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """One task's LoRA beside one matrix: `scaling` · B A."""

    a: Float[nn.Parameter, "r d_in"]
    b: Float[nn.Parameter, "d_out r"]
    scaling: float


Weights = Mapping[str, LowRank]  # by the name of the matrix in the model without adapter


def why_not(model: PeftModel) -> str | None:
    """Why adapters of this kind cannot be trained several at once; None where they can."""
    lora = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    plain = all(
        type(module) is Linear
        and not module.lora_variant
        and not any(module.lora_bias.values())
        and not nn.utils.parametrize.is_parametrized(module.lora_A[ADAPTER])
        for module in lora
    )
    learning = {id(p) for p in model.parameters() if p.requires_grad}
    own = {
        id(p) for m in lora if plain for p in (m.lora_A[ADAPTER].weight, m.lora_B[ADAPTER].weight)
    }
    if not lora or learning != own:
        return "only plain LoRA is trained several at once"
    if any(not isinstance(module.lora_dropout[ADAPTER], nn.Identity) for module in lora):
        return "dropout would fall otherwise than alone"
    if not is_constant(model, layers.n_blocks(model) - 1):
        return "the model has dropout, which would fall otherwise than alone"
    return None


def read(model: PeftModel) -> Weights:
    """The weights of the adapter that `model` wears, to be learnt apart from it."""
    return {
        name: LowRank(
            nn.Parameter(module.lora_A[ADAPTER].weight.detach().clone()),
            nn.Parameter(module.lora_B[ADAPTER].weight.detach().clone()),
            module.scaling[ADAPTER],
        )
        for name, module in _adapted(model)
    }


@torch.no_grad()
def write(weights: Weights, model: PeftModel) -> None:
    """Give the adapter that `model` wears these weights."""
    for name, module in _adapted(model):
        module.lora_A[ADAPTER].weight.copy_(weights[name].a)
        module.lora_B[ADAPTER].weight.copy_(weights[name].b)


def parameters(weights: Weights) -> list[nn.Parameter]:
    return [matrix for one in weights.values() for matrix in (one.a, one.b)]


@contextmanager
def worn(lm: nn.Module, every: Sequence[Weights], batch: LMBatch) -> Iterator[None]:
    """Inside, `lm` (without adapter) may be run on `batch`, whose `task_index` says which of `every` a row goes
    through; the backward pass belongs inside too, where blocks may be computed again."""
    of_token = batch.task_index[batch.example.clamp(min=0)]
    own: dict[int, Bool[Tensor, "rows s _"]] = {}  # by rank

    def is_own(rank: int) -> Bool[Tensor, "rows s _"]:
        if rank not in own:
            own[rank] = _one_hot(of_token, len(every)).repeat_interleave(rank, dim=-1)
        return own[rank]

    with ExitStack() as hooks:
        for name in every[0]:
            beside = _beside([weights[name] for weights in every], is_own)
            hooks.callback(lm.get_submodule(name).register_forward_hook(beside).remove)
        yield


def _beside(
    every: Sequence[LowRank], is_own: Callable[[int], Tensor]
) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    def hook(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        a = torch.cat([one.a for one in every])
        b = torch.cat([one.b for one in every], dim=1)
        states = functional.linear(args[0].to(a.dtype), a)
        if len(every) > 1:
            states = torch.where(is_own(len(every[0].a)), states, 0)
        added = functional.linear(states * every[0].scaling, b)
        return (output + added).to(output.dtype)

    return hook


def _one_hot(index: Int[Tensor, "rows s"], n: int) -> Bool[Tensor, "rows s n"]:
    return index.unsqueeze(-1) == torch.arange(n, device=index.device)


def _adapted(model: PeftModel) -> Iterator[tuple[str, Any]]:
    for name, module in model.get_base_model().named_modules():
        if isinstance(module, LoraLayer):
            yield name, module
