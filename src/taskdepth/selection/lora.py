"""A selection for PEFT: its file or run folder, and the config of a LoRA in its blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskdepth.errors import ConfigError

if TYPE_CHECKING:
    from peft import LoraConfig

# they say where the adapter goes and with what rank, which the selection has said
TAKEN = ("layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern")
# what architectures call their list of blocks; by these names PEFT finds layers_to_transform
LISTS = "layers|h|block|blocks|layer"


def lora_arguments(
    blocks: Sequence[int], ranks: Mapping[int, int] | None, r: int, lora_alpha: int
) -> dict[str, Any]:
    """What a selection has to say to PEFT's LoraConfig.

    With `ranks`, block → rank, `r` and `lora_alpha` only say how the update is scaled: lora_alpha / r
    holds in every block.

    >>> lora_arguments([1, 2], {1: 4, 2: 6}, r=8, lora_alpha=16)["rank_pattern"]
    {'(layers|h|block|blocks|layer)[.](2)[.].+': 6}
    """
    arguments: dict[str, Any] = {"r": r, "lora_alpha": lora_alpha}
    arguments["layers_to_transform"] = list(blocks)
    if ranks is None:
        return arguments
    lowest = min(ranks.values())
    arguments |= {"r": lowest, "lora_alpha": _scaled(lowest, r, lora_alpha)}
    patterns = {
        rank: f"({LISTS})[.]({'|'.join(str(b) for b in blocks if ranks[b] == rank)})[.].+"
        for rank in sorted(set(ranks.values()) - {lowest})
    }
    if patterns:
        arguments["rank_pattern"] = {pattern: rank for rank, pattern in patterns.items()}
        arguments["alpha_pattern"] = {
            pattern: _scaled(rank, r, lora_alpha) for rank, pattern in patterns.items()
        }
    return arguments


def lora_config(
    blocks: Sequence[int],
    ranks: Mapping[int, int] | None = None,
    *,
    r: int = 8,
    lora_alpha: int = 16,
    **settings: Any,
) -> LoraConfig:
    """PEFT's LoraConfig for `blocks` and their `ranks`; `settings` are its other arguments.

    Raises:
        ConfigError: an argument is unknown to PEFT or wrong, or chooses blocks or ranks by itself.
    """
    from peft import LoraConfig  # takes seconds: only who wants a config waits

    if taken := [name for name in TAKEN if name in settings]:
        raise ConfigError(f"{', '.join(taken)}: the selection says that, leave it out")
    if isinstance(settings.get("target_modules"), str):
        raise ConfigError(
            f"target_modules={settings['target_modules']!r}: PEFT takes no blocks with a pattern, "
            'name the modules in a list, as ["q_proj", "v_proj"]'
        )
    if ranks is not None and settings.get("use_rslora"):
        raise ConfigError("use_rslora: PEFT has no different ranks by block with it, leave it out")
    chosen = lora_arguments(blocks, ranks, r, lora_alpha)
    try:
        return LoraConfig(**{"task_type": "CAUSAL_LM", **settings, **chosen})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"PEFT's LoraConfig refuses: {' '.join(str(error).split())}") from None


def selection_file(path: str | Path) -> Path:
    """`path`, or the selection in the run folder `path`."""
    path = Path(path)
    return path / "selection.yaml" if path.is_dir() else path


def _scaled(rank: int, r: int, lora_alpha: int) -> int | float:
    """The alpha by which alpha / rank is lora_alpha / r; whole where it can be."""
    return lora_alpha * rank // r if lora_alpha * rank % r == 0 else lora_alpha * rank / r
