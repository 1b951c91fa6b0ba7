"""A model that lies in parts on all ranks: weights, gradients and optimizer states (FSDP2).

Each block is a unit: its weights are gathered before it runs and let go of afterwards. Zhao et al. 2023,
arXiv:2304.11277; Rajbhandari et al. 2020, arXiv:1910.02054 (ZeRO, stage 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor

from taskdepth import layers
from taskdepth.files import replacing_folder


class Sharding(StrEnum):
    NONE = "none"
    FULL = "full"
    OFFLOAD = "offload"  # full, and what is not at work rests in the memory of the CPU


class WholeShards(ModelParallelStrategy):
    """Lightning's, whose checkpoints are folders with a part of every rank: whole, or not there.

    Any number of ranks can go on from them.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None
    ) -> None:
        with replacing_folder(Path(filepath)) if self.is_global_zero else nullcontext() as partial:
            # every rank writes its part into the first one's folder
            super().save_checkpoint(checkpoint, str(self.broadcast(partial)))
            self.barrier()
        self.barrier()


def shard(lm: nn.Module, mesh: DeviceMesh, kind: str) -> None:
    """Deal the weights of `lm` over the ranks of `mesh`, in place, block by block."""
    policy = CPUOffloadPolicy() if kind == Sharding.OFFLOAD else OffloadPolicy()
    for block in layers.find_blocks(lm):
        fully_shard(block, mesh=mesh, offload_policy=policy)
    fully_shard(lm, mesh=mesh, offload_policy=policy)


@torch.no_grad()
def whole_state(lm: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` of `lm` with whole tensors, on the CPU of the first rank and empty elsewhere.

    Every rank calls it. Tied weights stay tied.
    """
    is_first = dist.get_rank() == 0
    one_of = {name: id(p) for name, p in lm.named_parameters(remove_duplicate=False)}
    gathered: dict[int | str, Tensor] = {}
    for name, part in state.items():
        if (key := one_of.get(name, name)) not in gathered:
            found = full(part)
            gathered[key] = found.cpu() if is_first else torch.empty(0)
    return {name: gathered[one_of.get(name, name)] for name in state} if is_first else {}


def full(values: Tensor) -> Tensor:
    """All of a tensor that may lie in parts; every rank calls it."""
    if not isinstance(values, DTensor):
        return values
    found: Tensor = values.full_tensor()
    return found
