"""The only owner of the depth/block convention.

depth 0 is the state that enters the first block (the embeddings); depth d is the output of block
d - 1, **before** the final norm; so a model of L blocks has L + 1 depths, and `layer k` in prose and
figures is depth k >= 1. Blocks count from 0, as PEFT's `layers_to_transform` does.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from taskdepth.errors import ConfigError, ModelError


def find_blocks(model: nn.Module) -> nn.ModuleList:
    """The list of transformer blocks, found by structure: the one longest `ModuleList` of that length.

    Works for any Hugging Face decoder, bare or wrapped by PEFT: the blocks are the `ModuleList` whose
    length is `config.num_hidden_layers`.

    Raises:
        ModelError: there is no such list, or more than one.
    """
    config = getattr(model, "config", None)
    n_blocks = getattr(config, "num_hidden_layers", None)
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == n_blocks
    ]
    # a block may hold lists of the same length (experts, adapters): only the outermost count
    outermost = [
        (name, module)
        for name, module in found
        if not any(name.startswith(f"{other}.") for other, _ in found if other != name)
    ]
    if n_blocks is None or len(outermost) != 1:
        names = ", ".join(name for name, _ in outermost) or "none"
        raise ModelError(
            f"{type(model).__name__}: expected exactly one list of {n_blocks} blocks, found {names}"
        )
    return outermost[0][1]


def n_blocks(model: nn.Module) -> int:
    """L, the number of transformer blocks."""
    return len(find_blocks(model))


def blocks_path(model: nn.Module) -> str:
    """The dotted name of the block list, such as `model.layers`."""
    blocks = find_blocks(model)
    return next(str(name) for name, module in model.named_modules() if module is blocks)


def block_of(depth: int) -> int:
    """The block whose output is `depth` >= 1.

    >>> block_of(1)
    0
    """
    if depth < 1:
        raise ConfigError(f"depth {depth} is not the output of any block")
    return depth - 1


def depth_of(block: int) -> int:
    """The depth that `block` produces.

    >>> depth_of(0)
    1
    """
    return block + 1


def check_blocks(blocks: Iterable[int], n_blocks: int) -> tuple[int, ...]:
    """`blocks` sorted, after checking that they exist, are unique and are not empty.

    PEFT takes an empty list for *all* blocks and ignores numbers that do not exist; both are errors
    here.

    Raises:
        ConfigError: naming what is wrong.

    >>> check_blocks([2, 0], n_blocks=3)
    (0, 2)
    """
    wanted = list(blocks)
    if not wanted:
        raise ConfigError("no block is chosen; PEFT would adapt all of them")
    if len(set(wanted)) != len(wanted):
        raise ConfigError(
            f"blocks are named twice: {sorted(b for b in wanted if wanted.count(b) > 1)}"
        )
    if outside := sorted(b for b in wanted if not 0 <= b < n_blocks):
        raise ConfigError(
            f"blocks {outside} do not exist: the model has blocks 0 to {n_blocks - 1}"
        )
    return tuple(sorted(wanted))
