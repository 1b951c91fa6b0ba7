"""A selection read elsewhere: its file or run folder, and PEFT's config for its blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskdepth.errors import ConfigError

if TYPE_CHECKING:
    from peft import LoraConfig

# they say where the adapter goes, which the selection has said
TAKEN = ("layers_to_transform", "layers_pattern")


def lora_config(
    blocks: Sequence[int], *, r: int = 8, lora_alpha: int = 16, **settings: Any
) -> LoraConfig:
    """PEFT's LoraConfig for `blocks`; `settings` are its other arguments.

    Raises:
        ConfigError: an argument is unknown to PEFT or wrong, or chooses blocks by itself.
    """
    from peft import LoraConfig  # takes seconds: only who wants a config waits

    if taken := [name for name in TAKEN if name in settings]:
        raise ConfigError(f"{', '.join(taken)}: the selection chooses the blocks, leave it out")
    if isinstance(settings.get("target_modules"), str):
        raise ConfigError(
            f"target_modules={settings['target_modules']!r}: PEFT takes no blocks with a pattern, "
            'name the modules in a list, as ["q_proj", "v_proj"]'
        )
    arguments = {"task_type": "CAUSAL_LM", **settings}
    try:
        return LoraConfig(r=r, lora_alpha=lora_alpha, layers_to_transform=list(blocks), **arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"PEFT's LoraConfig refuses: {' '.join(str(error).split())}") from None


def selection_file(path: str | Path) -> Path:
    """`path`, or the selection in the run folder `path`."""
    path = Path(path)
    return path / "selection.yaml" if path.is_dir() else path
