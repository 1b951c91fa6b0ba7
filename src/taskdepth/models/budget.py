"""LoRA ranks by block, so that adapters in different blocks have the same number of parameters."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from peft import AdaLoraConfig, LoraConfig, PeftConfig

from taskdepth import layers
from taskdepth.errors import ConfigError
from taskdepth.models import adapters

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class BlockCosts:
    """What a LoRA of rank r learns in block b: `fixed[b] + r * per_rank[b]` parameters.

    >>> costs = BlockCosts(fixed=(0, 0, 0), per_rank=(10, 10, 10))
    >>> costs.ranks([0, 2], budget=costs.parameters({0: 3, 1: 3, 2: 3}))
    {0: 5, 2: 4}
    """

    fixed: tuple[int, ...]
    per_rank: tuple[int, ...]

    def parameters(self, ranks: Mapping[int, int]) -> int:
        """The parameters of all blocks that have a rank."""
        return sum(self.fixed[block] + rank * self.per_rank[block] for block, rank in ranks.items())

    def ranks(self, blocks: Sequence[int], budget: int) -> dict[int, int]:
        """The ranks of `blocks` that come nearest to `budget` parameters from below.

        All have the largest rank that fits; what is left makes it one more in some of them, the lower
        ones first. With blocks of equal cost and a budget of whole ranks nothing is left.

        Raises:
            ConfigError: not even rank 1 fits.
        """
        rank, left = divmod(
            budget - sum(self.fixed[block] for block in blocks),
            sum(self.per_rank[block] for block in blocks),
        )
        if rank < 1:
            raise ConfigError(
                f"{budget} parameters are too few for a LoRA in {len(blocks)} blocks: raise adapter.peft.r"
            )
        ranks = {}
        for block in blocks:
            more = self.per_rank[block] <= left
            ranks[block] = rank + more
            left -= more * self.per_rank[block]
        return ranks


def block_costs(lm: PreTrainedModel, config: PeftConfig) -> BlockCosts:
    """Counted in `lm` itself, by putting on LoRAs of rank 1 and 2; `lm` is itself again afterwards.

    Raises:
        ConfigError: `config` is not that of a LoRA.
        ModelError: PEFT cannot adapt this model.
    """
    one, two = (_counts(lm, config, rank) for rank in (1, 2))
    per_rank = tuple(b - a for a, b in zip(one, two, strict=True))
    return BlockCosts(tuple(a - c for a, c in zip(one, per_rank, strict=True)), per_rank)


def with_ranks(config: PeftConfig, blocks_path: str, ranks: Mapping[int, int]) -> LoraConfig:
    """`config` with a rank for each block of the list at `blocks_path`, and the same scaling of all.

    alpha / r stays as it is, or a placement would be compared at another learning rate.

    Raises:
        ConfigError: `config` is not that of a LoRA, or PEFT does not allow ranks to differ with it.
    """
    config = copy.deepcopy(_lora(config))
    lowest = min(ranks.values())
    scaling = config.lora_alpha / config.r
    config.r, alpha = lowest, config.lora_alpha
    config.lora_alpha = alpha if config.use_rslora else scaling * lowest
    uneven = {rank: [b for b in ranks if ranks[b] == rank] for rank in set(ranks.values())}
    del uneven[lowest]
    if uneven and config.use_rslora:
        raise ConfigError("PEFT has no different ranks by block with use_rslora: adapter=lora")
    for rank, blocks in uneven.items():
        pattern = rf"{re.escape(blocks_path)}\.({'|'.join(map(str, blocks))})\..+"
        config.rank_pattern[pattern] = rank
        config.alpha_pattern[pattern] = scaling * rank
    return config


def _lora(config: PeftConfig) -> LoraConfig:
    if not isinstance(config, LoraConfig) or isinstance(config, AdaLoraConfig):
        raise ConfigError(
            f"ranks by block are for LoRA and its variants, not {type(config).__name__}: adapter=lora"
        )
    return config


def _counts(lm: Any, config: PeftConfig, rank: int) -> list[int]:
    """The learning parameters in each block."""
    config = copy.deepcopy(_lora(config))
    config.r, config.init_lora_weights = rank, True  # how it starts changes no number
    n_blocks = layers.n_blocks(lm)
    wrapped = adapters.attach(lm, config, range(n_blocks))
    try:
        return [
            sum(p.numel() for p in block.parameters() if p.requires_grad)
            for block in layers.find_blocks(wrapped)
        ]
    finally:
        adapters.detach(wrapped)
