"""A plain LoRA adapter, added to the model's weights straight from its file.

PEFT builds a module around every adapted layer and takes it off again, which costs as much as reading
dozens of prompts. Where an adapter is nothing but `W + scaling·B·A`, its two matrices are enough: the
sum is the one that PEFT's `merge_adapter` makes, bit for bit.

LoRA: Hu et al. 2022, arXiv:2106.09685, section 4.1; rank-stabilised: Kalajdzievski 2023, arXiv:2312.03732.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import linear

from taskdepth.models import dispatched

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_MATRIX = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
# what does not change the sum: where the adapter is, how it came about, and what is read here
_HARMLESS = frozenset(
    (
        "auto_mapping",
        "base_model_name_or_path",
        "corda_config",
        "eva_config",
        "exclude_modules",
        "inference_mode",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "lora_dropout",
        "megatron_core",
        "peft_type",
        "peft_version",
        "qalora_group_size",
        "r",
        "rank_pattern",
        "revision",
        "target_modules",
        "task_type",
        "use_rslora",
    )
)


@dataclass(frozen=True, slots=True)
class PlainLora:
    """The matrices of every adapted layer, by the name of its module, and what their product is scaled by."""

    a: Mapping[str, Float[Tensor, "r d_in"]]
    b: Mapping[str, Float[Tensor, "d_out r"]]
    scaling: Mapping[str, float]

    def delta(self, module: str, device: torch.device | None = None) -> Float[Tensor, "d_out d_in"]:
        """What the adapter adds to the weight of `module`."""
        a, b = (matrices[module].to(device) for matrices in (self.a, self.b))
        return (b @ a).mul_(self.scaling[module])


def read(folder: Path) -> PlainLora | None:
    """The adapter in `folder`, or None where it is more than a plain float32 LoRA.

    An option that this module does not know counts as more: PEFT knows what to do with it.
    """
    config = folder / CONFIG
    if not config.is_file() or not (folder / WEIGHTS).is_file():
        return None
    options = json.loads(config.read_text(encoding="utf-8"))
    others = {name: value for name, value in options.items() if name not in _HARMLESS}
    if options.get("peft_type") != "LORA" or others.pop("bias", "none") != "none":
        return None
    if any(others.values()):
        return None
    found: dict[str, dict[str, Tensor]] = {"A": {}, "B": {}}
    try:
        tensors = load_file(folder / WEIGHTS)
    except SafetensorError:
        return None  # PEFT says what is wrong with it
    for name, tensor in tensors.items():
        match = _MATRIX.fullmatch(name)
        if match is None or tensor.ndim != 2 or tensor.dtype != torch.float32:
            return None
        found[match[2]][match[1]] = tensor
    a, b = found["A"], found["B"]
    if not a or a.keys() != b.keys() or any(len(a[name]) != b[name].shape[1] for name in a):
        return None
    scale = sqrt if options.get("use_rslora") else float
    scaling = {name: options["lora_alpha"] / scale(len(a[name])) for name in a}
    return PlainLora(a, b, scaling)


def fits(lora: PlainLora, lm: nn.Module, dtype: torch.dtype = torch.float32) -> bool:
    """Whether every matrix has a linear layer of its shape and of `dtype` in `lm`."""
    modules: dict[str, Any] = dict(lm.named_modules())
    return all(
        type(layer := modules.get(name)) is nn.Linear
        and layer.weight.dtype == dtype
        and layer.weight.shape == (len(lora.b[name]), lora.a[name].shape[1])
        for name in lora.a
    )


@contextmanager
def added(lm: nn.Module, lora: PlainLora) -> Iterator[None]:
    """Inside, `lm`, which it `fits`, computes with the adapter's sums; afterwards its own weights are back."""
    own: list[tuple[Tensor, Tensor]] = []
    resting = ExitStack()
    try:
        for name in lora.a:
            layer = cast("nn.Linear", lm.get_submodule(name))
            weight = layer.weight
            if dispatched.is_at_rest(weight):
                resting.enter_context(dispatched.changed(layer, partial(_sum, lora, name)))
                continue
            own.append((weight, weight.data))
            weight.data = _sum(lora, name, weight.data)
        yield
    finally:
        resting.close()
        for weight, data in own:
            weight.data = data


def _sum(
    lora: PlainLora, module: str, weight: Float[Tensor, "d_out d_in"]
) -> Float[Tensor, "d_out d_in"]:
    return lora.delta(module, weight.device).add_(weight)


@contextmanager
def beside(lm: nn.Module, lora: PlainLora) -> Iterator[None]:
    """Inside, `lm` adds what the adapter makes of a layer's input to its output, in float32 as PEFT does.

    For half precision: the sum of weights would round most of an adapter away.
    """
    with ExitStack() as hooks:
        for name in lora.a:
            layer = lm.get_submodule(name)
            device = dispatched.device_of(layer)
            a, b = lora.a[name].to(device), lora.b[name].to(device)
            add = partial(_add, a, b, lora.scaling[name])
            hooks.callback(layer.register_forward_hook(add).remove)
        yield


def _add(
    a: Float[Tensor, "r d_in"],
    b: Float[Tensor, "d_out r"],
    scaling: float,
    _: nn.Module,
    args: tuple[Float[Tensor, "*rows d_in"], ...],
    output: Float[Tensor, "*rows d_out"],
) -> Float[Tensor, "*rows d_out"]:
    states = args[0].to(a)
    return (output + linear(linear(states, a), b) * scaling).to(output.dtype)
