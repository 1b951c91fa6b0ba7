"""A model in parts: on several GPUs, or with weights that rest in memory or on disk until they are needed.

Hugging Face's `device_map` does it, by hooks of accelerate that take inputs and weights to where a module
is computed. A weight at rest is on torch's `meta` device, without values: what reads or changes weights has
to ask the hook for them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.hooks import AlignDevicesHook, SequentialHook
from accelerate.utils import get_max_memory
from torch import Tensor, nn

from taskdepth.errors import ModelError

# who loads a model in parts says how many of them rest
logging.getLogger("accelerate.big_modeling").setLevel(logging.ERROR)

GIB = 2**30
FREE_SHARE = 0.9  # of a device without a limit of its own; batches need room, too


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the parts of a model lie.

    `device_map` is Hugging Face's: `auto` and its kin fill the GPUs, then memory, then the disk, each up to
    its limit; a mapping gives each part, by its name, a device: `cpu`, `disk` or the number of a GPU. A weight
    on disk is read from the model's own file; what does not lie there as it is needed goes to `folder`.
    """

    device_map: str | Mapping[str, str | int]
    folder: Path
    gpu_limit_gib: float | None = None
    cpu_limit_gib: float | None = None

    def options(self) -> dict[str, Any]:
        """What `from_pretrained` is told.

        Raises:
            ModelError: torch does not see a GPU that is named.
        """
        n_gpus = torch.cuda.device_count()
        named = {} if isinstance(self.device_map, str) else dict(self.device_map)
        missing = [one for one in named.values() if isinstance(one, int) and one >= n_gpus]
        if missing:
            raise ModelError(f"extraction.device_map names GPU {max(missing)}, torch sees {n_gpus}")
        return {
            "device_map": named or self.device_map,
            "max_memory": self._limits_bytes(),
            "offload_folder": str(self.folder),
        }

    def _limits_bytes(self) -> dict[int | str, int] | None:
        if self.gpu_limit_gib is None and self.cpu_limit_gib is None:
            return None  # Hugging Face has shares of its own
        found = {}
        for device, free_bytes in get_max_memory().items():
            limit_gib = self.cpu_limit_gib if device == "cpu" else self.gpu_limit_gib
            found[device] = int(free_bytes * FREE_SHARE)
            if limit_gib is not None:
                found[device] = min(free_bytes, int(limit_gib * GIB))
        return found

    def check(self, lm: nn.Module) -> None:
        """Raises:
        ModelError: `device_map` names a part that the model does not have; Hugging Face ignores it.
        """
        if isinstance(self.device_map, str):
            return
        known = {name for name, _ in (*lm.named_modules(), *lm.named_parameters())}
        if unknown := sorted(set(self.device_map) - known):
            raise ModelError(f"extraction.device_map: the model has no part named {unknown[0]}")


def device_of_inputs(lm: Any) -> torch.device:
    """Where token ids have to be: where they are looked up."""
    return device_of(lm.get_input_embeddings())


def device_of(layer: nn.Module) -> torch.device:
    """Where a layer with a weight is computed."""
    devices = [hook.execution_device for hook in _hooks(layer)]
    found: torch.device = layer.weight.device  # type: ignore[assignment]  # it is a tensor
    return next((torch.device(device) for device in devices if device is not None), found)


def is_at_rest(weight: Tensor) -> bool:
    """Whether a weight is elsewhere than in its module."""
    return weight.device.type == "meta"


def rests(lm: nn.Module) -> bool:
    """Whether any weight does."""
    return any(map(is_at_rest, lm.parameters()))


def weight_of(layer: nn.Linear) -> Tensor:
    """A layer's weight, fetched from where it rests."""
    if not is_at_rest(layer.weight):
        return layer.weight.detach()
    hook = _resting(layer)
    found: Tensor = hook.weights_map["weight"].to(hook.execution_device)
    return found


@contextmanager
def changed(layer: nn.Linear, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Inside, `layer`, whose weight rests, computes with `change(weight)`, a tensor of its own each time."""
    hook = _resting(layer)
    own = hook.weights_map
    hook.weights_map = _Changed(own, change, hook.execution_device)
    try:
        yield
    finally:
        hook.weights_map = own


class _Changed:
    """What a hook fetches its module's tensors from, the `weight` changed where it is computed with."""

    def __init__(self, own: Any, change: Callable[[Tensor], Tensor], device: Any) -> None:
        self._own = own
        self._change = change
        self._device = device

    def __getitem__(self, name: str) -> Tensor:
        found: Tensor = self._own[name]
        return self._change(found.to(self._device)) if name == "weight" else found


def _resting(layer: nn.Module) -> AlignDevicesHook:
    return next(hook for hook in _hooks(layer) if hook.offload)


def _hooks(module: nn.Module) -> list[AlignDevicesHook]:
    hook = getattr(module, "_hf_hook", None)
    found = hook.hooks if isinstance(hook, SequentialHook) else [hook]
    return [one for one in found if isinstance(one, AlignDevicesHook)]
