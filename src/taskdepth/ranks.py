"""Ranks: the processes that share one command, on one machine or on many. torchrun starts them.

Every rank runs the same command on the same files. What can be dealt out is dealt; what writes the
results is done by the first rank, and the others are told the result.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from taskdepth import launching
from taskdepth.errors import ConfigError, TaskdepthError

Result = TypeVar("Result")

# ranks wait for each other's share of hours of work; torchrun ends all of them when one dies
PATIENCE = timedelta(days=30)

_alone = False  # while the first rank does what the others wait for


def is_joined() -> bool:
    """Whether this process shares what it is doing with others that it can talk to."""
    return not _alone and dist.is_available() and dist.is_initialized()


def n_ranks() -> int:
    """How many processes share the work."""
    return dist.get_world_size() if is_joined() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if is_joined() else 0


def is_first() -> bool:
    """Whether this is the rank that writes results and speaks."""
    return rank() == 0


def n_nodes() -> int:
    """On how many machines the processes run."""
    return n_ranks() // int(os.environ.get("LOCAL_WORLD_SIZE", n_ranks()))


@contextmanager
def joined(accelerator: str) -> Iterator[None]:
    """Inside, the ranks that torchrun started can talk to each other. A single process is left as it is.

    On GPUs each rank takes the one of its local number.
    """
    if is_joined() or not launching.is_one_of_many():
        yield
        return
    on_gpus = accelerator != "cpu" and torch.cuda.is_available()
    if on_gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    # objects travel by gloo also where tensors travel by NCCL
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=PATIENCE)
    yield
    # not after an error: the other ranks are at work, and leaving them would wait for them
    dist.destroy_process_group()


def total(values: Tensor) -> Tensor:
    """The sum over ranks, on every rank."""
    if not is_joined():
        return values
    values = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(values)
    return values


def told_by_all(own: Result) -> list[Result]:
    """What every rank brings, in their order, on every rank."""
    if not is_joined():
        return [own]
    every: list[Result] = [own] * n_ranks()
    dist.all_gather_object(every, own)
    return every


def first_does(work: Callable[[], Result]) -> Result:
    """The result of `work` on every rank; only the first one does it, and the others wait.

    What it does is done by it alone, also where it could be shared.

    Raises:
        TaskdepthError: that of the first rank, on every rank.
    """
    if not is_joined():
        return work()
    outcome: list[Result | TaskdepthError | None] = [None]
    if is_first():
        try:
            with _by_itself():
                outcome = [work()]
        except TaskdepthError as error:
            outcome = [error]
    dist.broadcast_object_list(outcome, src=0)
    if isinstance(outcome[0], TaskdepthError):
        raise outcome[0]
    return outcome[0]  # type: ignore[return-value]  # the first rank put its result there


@contextmanager
def _by_itself() -> Iterator[None]:
    global _alone
    _alone = True
    try:
        yield
    finally:
        _alone = False


def first_before_others(work: Callable[[], Result]) -> Result:
    """Every rank's own result of `work`, the first rank's turn first: it may fetch what the others find.

    Raises:
        TaskdepthError: that of the first rank, on every rank, or a rank's own.
    """
    found: list[Result] = []
    if is_joined():
        first_does(lambda: found.append(work()))
    return found[0] if found else work()


def deal(costs: Sequence[float], n_hands: int) -> list[list[int]]:
    """Which items each rank does: the costliest first, each to the rank with the least to do.

    The costliest share is at most 4/3 of the least that is possible (Graham 1969, *Bounds on
    Multiprocessing Timing Anomalies*, theorem 2).

    >>> deal([1.0, 5.0, 2.0, 3.0], 2)
    [[0, 1], [2, 3]]
    """
    if n_hands < 1:
        raise ConfigError(f"there is nobody to deal to: {n_hands} ranks")
    hands: list[list[int]] = [[] for _ in range(n_hands)]
    load = [(0.0, rank) for rank in range(n_hands)]
    for item in sorted(range(len(costs)), key=lambda item: -costs[item]):
        cost, hand = heapq.heappop(load)
        hands[hand].append(item)
        heapq.heappush(load, (cost + costs[item], hand))
    return [sorted(hand) for hand in hands]


def own_share(costs: Sequence[float]) -> list[int]:
    """The items that this rank does."""
    return _hands(costs)[rank()]


def _hands(costs: Sequence[float]) -> list[list[int]]:
    return deal(costs, n_ranks())


def in_shares(
    costs: Sequence[float], work: Callable[[list[int]], Sequence[Result]]
) -> list[Result]:
    """The results of `work` for every item, in order, on every rank; each does its own share.

    A single process does all of it. What one rank cannot do stops all of them.

    Raises:
        TaskdepthError: that of the first rank that has one.
    """
    own: Sequence[Result] | TaskdepthError
    try:
        own = work(own_share(costs))
    except TaskdepthError as error:
        own = error
    found: dict[int, Result] = {}
    for hand, results in zip(_hands(costs), told_by_all(own), strict=True):
        if isinstance(results, TaskdepthError):
            raise results
        found.update(zip(hand, results, strict=True))
    return [found[item] for item in range(len(costs))]


def own_devices(accelerator: str) -> list[int] | int:
    """The `devices` of a Lightning trainer that works for this rank alone."""
    here = dist.is_available() and dist.is_initialized()
    if here and accelerator != "cpu" and torch.cuda.is_available():
        return [torch.cuda.current_device()]  # what torch.cuda.set_device chose, not the first one
    return 1


def all_devices(accelerator: str, *, sharded: bool = False) -> dict[str, Any]:
    """What a Lightning trainer is given that works with all ranks on the same steps.

    `sharded`: the model lies in parts on all of them.
    """
    if not is_joined():
        return {"devices": own_devices(accelerator)}
    from lightning.pytorch.strategies import DDPStrategy  # seconds to load, and only needed here

    from taskdepth.models.sharding import WholeShards

    backend = dist.get_backend()
    # our buffers are the same everywhere, and ranks may validate on different numbers of batches
    strategy = (
        WholeShards(n_ranks(), 1, process_group_backend=backend)
        if sharded
        else DDPStrategy(process_group_backend=backend, forward_sync_buffers=False)
    )
    return {
        "devices": n_ranks() // n_nodes(),
        "num_nodes": n_nodes(),
        "strategy": strategy,
        "use_distributed_sampler": False,  # our batches know their ranks
    }
