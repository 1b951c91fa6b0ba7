"""The placement as something to paste: a command, and Python for PEFT alone."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from taskdepth.layers import depth_of
from taskdepth.results.regions import region_names
from taskdepth.selection.lora import lora_arguments
from taskdepth.selection.placement import LayerSelection


@dataclass(frozen=True, slots=True)
class Block:
    """One block of the model: its number from 0, whether it is adapted, its region's name or ""."""

    number: int
    adapted: bool
    region: str

    @property
    def layer(self) -> int:
        """The layer that the block makes."""
        return depth_of(self.number)


def strip(selection: LayerSelection) -> list[Block]:
    """Every block of the model that `selection` is about."""
    named = region_names(selection.regions)
    region_of = {k: name for name, first, last in named for k in range(first, last + 1)}
    return [
        Block(block, block in selection.blocks, region_of.get(depth_of(block), ""))
        for block in range(selection.n_blocks)
    ]


def lora_snippet(selection: LayerSelection) -> str:
    """Python that adapts the chosen blocks with PEFT alone."""
    arguments = lora_arguments(selection.blocks, selection.rank_pattern, r=8, lora_alpha=16)
    notes = {"layers_to_transform": "  # blocks count from 0"}
    said = [f"    {name}={value!r},{notes.get(name, '')}\n" for name, value in arguments.items()]
    return (
        "from peft import LoraConfig\n\n"
        "config = LoraConfig(\n"
        '    task_type="CAUSAL_LM",\n'
        '    target_modules=["q_proj", "v_proj"],  # a list: with a pattern PEFT takes no layers\n'
        f"{''.join(said)})\n"
    )


def reuse_command(selection_path: Path) -> str:
    """The command that tunes with the placement, quoted for Hydra and for the shell.

    >>> print(reuse_command(Path("runs/lr=0.1/selection.yaml")))
    python train.py adapter=lora 'adapter.blocks_from="runs/lr=0.1/selection.yaml"'
    """
    value = selection_path.as_posix()
    if not re.fullmatch(r"[A-Za-z0-9_./-]+", value):
        value = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"python train.py adapter=lora {shlex.quote(f'adapter.blocks_from={value}')}"


def reuse_python(selection_path: Path) -> str:
    """Python that makes the same of the file, with taskdepth installed."""
    return (
        "import taskdepth\n\n"
        f"selection = taskdepth.load_selection({selection_path.as_posix()!r})\n"
        'config = selection.to_lora_config(r=8, target_modules=["q_proj", "v_proj"])\n'
    )
