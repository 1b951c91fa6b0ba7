"""Probes on several ranks: problems dealt out by cost, or one problem with its rows on all of them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor

from taskdepth.errors import ConfigError, DataError, TaskdepthError
from taskdepth.probing.descent import Stop
from taskdepth.probing.inputs import Rows
from taskdepth.probing.part import LogisticFit
from taskdepth.probing.solver import check, solve

Result = TypeVar("Result")


def deal(costs: Sequence[float], n_ranks: int) -> list[list[int]]:
    """Which items each rank does: the dearest first, each to the rank with the least to do.

    The dearest hand costs at most 4/3 of the least that is possible (Graham 1969, *Bounds on
    Multiprocessing Timing Anomalies*, theorem 2).

    >>> deal([1.0, 5.0, 2.0, 3.0], 2)
    [[0, 1], [2, 3]]
    """
    if n_ranks < 1:
        raise ConfigError(f"there is nobody to deal to: {n_ranks} ranks")
    hands: list[list[int]] = [[] for _ in range(n_ranks)]
    load = [(0.0, rank) for rank in range(n_ranks)]
    for item in sorted(range(len(costs)), key=lambda item: -costs[item]):
        cost, rank = heapq.heappop(load)
        hands[rank].append(item)
        heapq.heappush(load, (cost + costs[item], rank))
    return [sorted(hand) for hand in hands]


def in_shares(
    costs: Sequence[float], work: Callable[[list[int]], Sequence[Result]]
) -> list[Result]:
    """The results of `work` for every item, in order, on every rank; each does its own share.

    Without `torch.distributed`, all of it is done here. What one rank cannot do stops all of them.

    Raises:
        TaskdepthError: that of the first rank that has one.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return list(work(list(range(len(costs)))))
    hands = deal(costs, dist.get_world_size())
    own: Sequence[Result] | TaskdepthError
    try:
        own = work(hands[dist.get_rank()])
    except TaskdepthError as error:
        own = error
    every: list[Sequence[Result] | TaskdepthError] = [[] for _ in hands]
    dist.all_gather_object(every, own)
    found: dict[int, Result] = {}
    for hand, results in zip(hands, every, strict=True):
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


def fit_logistic_sharded(
    x: Float[Tensor, "*#problems n d"],
    y: Int[Tensor, "*#problems n"],
    l2: float,
    *,
    n_classes: int,
    weight: Float[Tensor, "*#problems n"] | None = None,
    tolerance: float = 1e-7,
    max_steps: int = 1000,
) -> LogisticFit:
    """`fit_logistic` on the rows of all ranks, where `x`, `y` and `weight` are those of this one.

    For inputs that no device can hold alone. Every rank calls it, with some rows of the same
    problems; all get the same fit. What is exchanged are sums of the size of the parameters, and once
    the covariance of the inputs.

    Raises:
        ConfigError, DataError: as `fit_logistic`, on every rank when one of them cannot go on.
    """
    problem: TaskdepthError | None = None
    try:
        check(x, y, [l2], weight, n_classes)
    except TaskdepthError as error:
        problem = error
    n_stopped = _all_reduced(torch.tensor(float(problem is not None), device=x.device))
    if problem is not None:
        raise problem
    if n_stopped > 0:
        raise DataError("the rows of another rank cannot be fitted: its own error says why")
    rows = Rows(_all_reduced, _from_first, sharded=True)
    return solve(x, y, [l2], weight, n_classes, Stop(tolerance, max_steps), rows)[0]


def _all_reduced(values: Tensor) -> Tensor:
    values = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(values)
    return values


def _from_first(values: Tensor) -> Tensor:
    values = values.clone(memory_format=torch.contiguous_format)
    dist.broadcast(values, src=0)
    return values
