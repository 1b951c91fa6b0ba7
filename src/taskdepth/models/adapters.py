"""PEFT adapters in chosen blocks, and the proof that exactly those were adapted."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftConfig, PeftModel, PolyConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer, check_target_module_exists
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from taskdepth import layers
from taskdepth.errors import ModelError
from taskdepth.files import replacing_folder
from taskdepth.models import adalora, dispatched, plain_lora, routing, starts
from taskdepth.models.folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, check_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def attach(
    lm: PreTrainedModel,
    config: PeftConfig,
    blocks: Sequence[int] | None,
    *,
    tasks: Sequence[str] = (),
    calibration: starts.Calibration = (),
) -> PeftModel:
    """`lm` with a new adapter in `blocks` (None: in all of them); `lm`'s own weights are frozen.

    `tasks` are those a routed adapter (Poly, MHR) is to tell apart, in the order of the batches'
    `task_index`; `calibration` holds batches of `input_ids` and `attention_mask` for an adapter that starts
    from activations (EVA, CorDA). `lm` is as it was if this fails.

    Raises:
        ConfigError: a block does not exist, is named twice, or none is named.
        ModelError: PEFT adapted other blocks than those asked for, or cannot adapt this model.
    """
    n_blocks = layers.n_blocks(lm)
    wanted = layers.check_blocks(range(n_blocks) if blocks is None else blocks, n_blocks)
    starts.check_calibration(config, calibration)
    if isinstance(config, PolyConfig):
        routing.fill(config, tasks)
    if blocks is not None or starts.kind(config) == "corda":
        _limit(lm, config, wanted)
    try:
        return _wrap(lm, config, wanted, tasks, calibration)
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:
        _release(lm)
        raise ModelError(f"PEFT cannot adapt this model: {' '.join(str(error).split())}") from error
    except ModelError:
        _release(lm)
        raise


def _wrap(
    lm: PreTrainedModel,
    config: PeftConfig,
    wanted: tuple[int, ...],
    tasks: Sequence[str],
    calibration: starts.Calibration,
) -> PeftModel:
    start = starts.kind(config)
    if start in ("pissa", "corda", "olora"):
        model = starts.wrap_from_weights(lm, config, calibration)
    else:
        # PEFT asks for it with EVA, which makes the weights itself
        model = get_peft_model(lm, config, low_cpu_mem_usage=start == "eva")
    found = adapted_blocks(model)
    if found != wanted:
        raise ModelError(
            f"asked for an adapter in blocks {list(wanted)}, PEFT adapted {list(found)}"
        )
    routing.check_splits(model)
    routing.remember(model, tasks)
    if start == "eva":
        starts.start_from_activations(model, calibration)
        if without := sorted(set(wanted) - set(adapted_blocks(model))):
            raise ModelError(
                f"EVA gave blocks {without} no rank: adapter.peft.eva_config.rho=1.0 shares them evenly"
            )
    return model


def _limit(lm: nn.Module, config: PeftConfig, wanted: Sequence[int]) -> None:
    """Write the modules of the `wanted` blocks into `config`, by their full names.

    Not every method of PEFT knows blocks, but every one takes names.
    """
    targets = getattr(config, "target_modules", None)
    if not targets and hasattr(config, "layers_to_transform"):
        config.layers_to_transform = list(
            wanted
        )  # PEFT knows which modules this architecture wants
        return
    if not targets:
        raise ModelError(
            f"name adapter.peft.target_modules: {type(config).__name__} is limited to blocks by them"
        )
    numbers = "|".join(map(str, wanted))
    inside = re.compile(re.escape(layers.blocks_path(lm)) + rf"\.({numbers})\.")
    names = [
        name
        for name, module in lm.named_modules()
        if inside.match(name)
        and (
            isinstance(module, (nn.Linear, Conv1D))
            if targets == "all-linear"
            else _is_target(config, name)
        )
    ]
    if not names:
        raise ModelError(
            f"PEFT cannot adapt this model: no module of blocks {list(wanted)} is in {targets}"
        )
    config.target_modules = names
    feedforward = getattr(config, "feedforward_modules", None)
    if isinstance(feedforward, (list, set)):  # IA3 wants them to be a part of target_modules
        endings = tuple(f".{name}" for name in feedforward)
        config.feedforward_modules = [name for name in names if name.endswith(endings)]


def _is_target(config: PeftConfig, name: str) -> bool:
    found = check_target_module_exists(config, name)
    # what is excluded comes back as an object of its own
    return found is True or isinstance(found, re.Match)


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


def save(model: PeftModel, folder: Path, state: Mapping[str, Tensor] | None = None) -> None:
    """The adapter alone, in PEFT's format, as `folder`; loaded again, it computes bit for bit the same.

    `state` is the model's `starts.plain_state`, where that had to be gathered first.
    """
    config = model.peft_config[starts.ADAPTER]
    pattern = getattr(config, "rank_pattern", None)
    if adalora.is_adalora(model):
        # by its pattern PEFT would cut out the masked ranks, and round the shorter sums in another way
        config.rank_pattern = None
    try:
        with replacing_folder(folder) as partial:
            model.save_pretrained(
                partial,
                safe_serialization=True,
                save_embedding_layers=False,  # "auto" would look for the base model's config on the hub
                state_dict=starts.plain_state(model) if state is None else dict(state),
            )
            _sort_sets(partial / ADAPTER_CONFIG, config)
            routing.write(model, partial)
    finally:
        if adalora.is_adalora(model):
            config.rank_pattern = pattern


def _sort_sets(path: Path, config: Any) -> None:
    """PEFT writes the names of its sets in an order that changes from process to process."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content |= {
        name: sorted(value) for name, value in vars(config).items() if isinstance(value, set)
    }
    path.write_text(json.dumps(content, indent=2, sort_keys=True), encoding="utf-8")


@contextmanager
def loaded(lm: PreTrainedModel, folder: Path) -> Iterator[PeftModel]:
    """`lm` with the adapter of `folder`, in eval mode; `lm` is itself again afterwards.

    Raises:
        ModelError: the folder holds no adapter that fits.
    """
    _weights(folder)
    try:
        model = PeftModel.from_pretrained(lm, str(folder))
    except (ValueError, TypeError, RuntimeError, KeyError, OSError, SafetensorError) as error:
        _release(lm)
        raise ModelError(
            f"the adapter in {folder} does not fit: {' '.join(str(error).split())[:300]}"
        ) from error
    routing.remember(model, routing.read(folder))
    try:
        yield model.eval()
    finally:
        detach(model)


@contextmanager
def worn(lm: PreTrainedModel, folder: Path, task: str) -> Iterator[None]:
    """Inside, `lm` reads rows of `task` with the adapter of `folder`, as cheaply as can be; no gradients.

    Raises:
        ModelError: the folder holds no adapter that fits.
    """
    plain = plain_lora.read(folder)
    with torch.no_grad():
        if plain is not None and plain_lora.fits(plain, lm):
            with plain_lora.added(lm, plain):
                yield
        elif plain is not None and plain_lora.fits(plain, lm, lm.dtype):
            with plain_lora.beside(lm, plain):
                yield
        elif dispatched.rests(lm):
            raise ModelError(
                f"the adapter in {folder} is more than a plain LoRA, and weights of its model rest outside the "
                "GPU (extraction.device_map): more GPUs, or another adapter"
            )
        else:
            with loaded(lm, folder) as wearing, merged(wearing), routing.routed(wearing, task):
                yield


def first_block(lm: nn.Module, folder: Path) -> int:
    """The lowest block that the adapter of `folder` changes, told by the names of its weights.

    0 where one of them lies outside the blocks.

    Raises:
        ModelError: the folder holds no adapter, or a damaged one.
    """
    inside = re.compile(re.escape(layers.blocks_path(lm)) + r"\.(\d+)\.")
    try:
        with safe_open(_weights(folder), framework="pt") as weights:
            found = [inside.search(name) for name in weights.keys()]  # noqa: SIM118 (it is no dict)
    except SafetensorError as error:
        raise ModelError(f"the adapter in {folder} cannot be read: {error}") from error
    return min((int(match[1]) if match else 0 for match in found), default=0)


def _weights(folder: Path) -> Path:
    check_adapter(folder)
    return folder / ADAPTER_WEIGHTS


@contextmanager
def merged(model: PeftModel) -> Iterator[None]:
    """Inside, the adapter's weights are added to those of the base model, so that a forward pass costs what the
    base model's does; afterwards the base model's weights are what they were, bit for bit.

    Only in float32: sums in half precision would round most of an adapter away. An adapter that PEFT cannot add
    (Poly) stays beside the base model.
    """
    found = [m for m in model.modules() if isinstance(m, BaseTunerLayer) and hasattr(m, "unmerge")]
    weights = {id(m): m.get_base_layer().weight for m in found}
    if not found or any(weight.dtype != torch.float32 for weight in weights.values()):
        yield
        return
    kept = {key: weight.detach().clone() for key, weight in weights.items()}
    try:
        # what cannot be added works as well beside the base model, only slower
        with suppress(NotImplementedError, AttributeError, ValueError):
            model.merge_adapter()
        yield
    finally:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Unmerge result can be inaccurate")
            for module in found:
                if module.merged:
                    module.unmerge()
                weights[id(module)].copy_(kept[id(module)])  # unmerging leaves rounding behind


def detach(model: PeftModel) -> PreTrainedModel:
    """The model without its adapter, as it was before `attach`."""
    lm: Any = model.unload()
    _release(lm)
    return lm


def _release(lm: PreTrainedModel) -> None:
    """Leave nothing of PEFT in `lm`."""
    starts.strip(lm)
    for parameter in lm.parameters():
        if parameter.is_floating_point():  # those of a quantised model never learn
            parameter.requires_grad_(True)
