"""PEFT adapters in chosen blocks, and the proof that exactly those were adapted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft import PeftConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer

from taskdepth import layers
from taskdepth.errors import ModelError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def attach(lm: PreTrainedModel, config: PeftConfig, blocks: Sequence[int] | None) -> PeftModel:
    """`lm` with a new adapter in `blocks` (None: in all of them); `lm`'s own weights are frozen.

    Raises:
        ConfigError: a block does not exist, is named twice, or none is named.
        ModelError: PEFT adapted other blocks than those asked for, or cannot adapt this model.
    """
    n_blocks = layers.n_blocks(lm)
    wanted = layers.check_blocks(range(n_blocks) if blocks is None else blocks, n_blocks)
    if blocks is not None:
        if not hasattr(config, "layers_to_transform"):
            raise ModelError(
                f"{type(config).__name__} cannot be limited to blocks: adapter.blocks=null"
            )
        config.layers_to_transform = list(wanted)
    try:
        model = get_peft_model(lm, config)
    except ValueError as error:
        raise ModelError(f"PEFT cannot adapt this model: {' '.join(str(error).split())}") from error
    found = adapted_blocks(model)
    if found != wanted:
        raise ModelError(
            f"asked for an adapter in blocks {list(wanted)}, PEFT adapted {list(found)}"
        )
    return model


def adapted_blocks(model: nn.Module) -> tuple[int, ...]:
    """The blocks that hold adapter layers, counted in the model itself.

    Raises:
        ModelError: something outside the blocks is adapted.
    """
    prefix = layers.blocks_path(model)
    inside = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    found: set[int] = set()
    for name, module in model.named_modules():
        if not isinstance(module, BaseTunerLayer):
            continue
        match = inside.match(name)
        if match is None:
            raise ModelError(f"{name} is adapted, but lies outside the blocks")
        found.add(int(match[1]))
    return tuple(sorted(found))


def save(model: PeftModel, folder: Path) -> None:
    """The adapter alone, in PEFT's format."""
    # "auto" would look for the base model's config on the hub
    model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)


@contextmanager
def loaded(lm: PreTrainedModel, folder: Path) -> Iterator[PeftModel]:
    """`lm` with the adapter of `folder`, in eval mode; `lm` is itself again afterwards.

    Raises:
        ModelError: the folder holds no adapter that fits.
    """
    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(f"{folder} holds no adapter in safetensors format")
    try:
        model = PeftModel.from_pretrained(lm, str(folder))
    except (ValueError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"the adapter in {folder} does not fit: {' '.join(str(error).split())[:300]}"
        ) from error
    try:
        yield model.eval()
    finally:
        detach(model)


def detach(model: PeftModel) -> PreTrainedModel:
    """The model without its adapter, as it was before `attach`."""
    lm: Any = model.unload()
    if hasattr(lm, "peft_config"):
        del lm.peft_config  # PEFT would warn that the next adapter is the second one
    lm.requires_grad_(True)
    return lm
