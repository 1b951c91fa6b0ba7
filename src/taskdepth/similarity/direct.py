"""Any measure at every depth by calling it: for those that Gram matrices do not give all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from taskdepth.similarity.centring import centred, narrowed
from taskdepth.similarity.cka import NO_VARIANCE
from taskdepth.similarity.estimate import Estimate
from taskdepth.similarity.measure import Measure

MAX_SHUFFLES = 5  # each is another call of the measure


def measured(
    measure: Measure,
    x: Float[Tensor, "n_depths n p"],
    y: Float[Tensor, "n_depths n q"],
    orders: Sequence[Int[Tensor, " n"]],
    prepare: Callable[[Tensor], Tensor] | None = None,
) -> Estimate:
    """The measure of `x[d]` and `y[d]`, as `prepare` leaves them, for every depth d, and its floor.

    The floor is the mean over the first `MAX_SHUFFLES` of `orders`, permutations of the rows of `y`.
    There is no interval: copies of an example in a bootstrap sample are each other's neighbours, and
    equally dissimilar to all, so these measures would tell of the copies.
    """
    if x.shape[1] < measure.min_n:
        return Estimate.nothing(len(x), f"fewer than {measure.min_n} examples")
    found = []
    for one, other in zip(x, y, strict=True):
        if prepare is not None:
            one, other = prepare(one), prepare(other)
        found.append(_at_one_depth(measure, one, other, orders[:MAX_SHUFFLES]))
    value, floor = torch.stack([pair for pair, _ in found]).cpu().unbind(1)
    return Estimate.without_bounds(value, floor, [reason for _, reason in found])


def _at_one_depth(
    measure: Measure,
    x: Float[Tensor, "n p"],
    y: Float[Tensor, "n q"],
    orders: Sequence[Int[Tensor, " n"]],
) -> tuple[Float[Tensor, 2], str]:
    """Value and floor, and why there is none."""
    if not all(bool((side != side[:1]).any()) for side in (x, y)):
        return x.new_full((2,), torch.nan, dtype=torch.float64), NO_VARIANCE
    if measure.orthogonal:  # the shuffles then take no wider matrices than they must
        x, y = (narrowed(side) for side in _as_given(measure, x, y))
    value = measure.function(x, y)
    floors = [measure.function(x, y[order]) for order in orders]
    floor = torch.stack(floors).mean() if floors else torch.full_like(value, torch.nan)
    return torch.stack([value, floor]), measure.undefined_where if bool(value.isnan()) else ""


def _as_given(measure: Measure, *sides: Float[Tensor, "n _"]) -> Iterator[Float[Tensor, "n _"]]:
    """Centred where the measure does not mind: an offset would cost digits."""
    for side in sides:
        yield centred(side) if measure.translation else side.to(torch.float64)
