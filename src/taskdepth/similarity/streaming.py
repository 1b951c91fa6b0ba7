"""Linear and debiased CKA of examples that come in batches, exact, for too many to hold at once.

Both need the centred rows' ‖xᵀy‖², ‖xᵀx‖² and ‖yᵀy‖², and the debiased one sums over examples such as
Σ ‖x‖²‖y‖² as well. All follow from the second moments of the rows [x, y, ‖x‖², ‖y‖², 1] about any
origin: a new origin is a linear map of such a row, ‖x - δ‖² = ‖x‖² - 2 x·δ + ‖δ‖². So each process
takes its first example as its origin, which keeps the digits of activations that lie far off zero,
and moments about different origins can still be added.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

from taskdepth.errors import DataError
from taskdepth.similarity.cka import MIN_EXAMPLES, biased_part, positive_or_nan


class _StreamingCKA(Metric):
    """Second moments of rows of width `p` and `q`: (p + q + 3)² float64 values."""

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    moments: Tensor

    def __init__(self, p: int, q: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._p, self._q = p, q
        # the last row is the origin
        empty = torch.zeros(p + q + 4, p + q + 3, dtype=torch.float64)
        self.add_state("moments", empty, dist_reduce_fx=partial(_merged, p=p))

    def update(self, x: Float[Tensor, "b p"], y: Float[Tensor, "b q"]) -> None:
        """Take in a batch: row i of `x` and row i of `y` describe the same example.

        Raises:
            DataError: other widths than announced, or not the same examples.
        """
        if [*x.shape[1:], *y.shape[1:]] != [self._p, self._q] or len(x) != len(y):
            raise DataError(
                f"expected rows of width {self._p} and {self._q} of the same examples: "
                f"the shapes are {list(x.shape)} and {list(y.shape)}"
            )
        if not len(x):
            return
        rows = torch.cat([x.to(torch.float64), y.to(torch.float64)], dim=1)
        sums, origin = self.moments[:-1], self.moments[-1, : self._p + self._q]
        if not sums[-1, -1]:
            origin.copy_(rows[0])
        rows -= origin
        norms = [
            side.square().sum(1, keepdim=True) for side in torch.split(rows, [self._p, self._q], 1)
        ]
        rows = torch.cat([rows, *norms, torch.ones_like(norms[0])], dim=1)
        sums.addmm_(rows.T, rows)

    def _centred(self) -> Float[Tensor, "s s"]:
        """The moments about the mean."""
        sums = self.moments[:-1]
        return _about(sums, sums[: self._p + self._q, -1] / sums[-1, -1], self._p)

    def _squared(self, sums: Float[Tensor, "s s"]) -> Float[Tensor, 3]:
        """‖xᵀy‖², ‖xᵀx‖² and ‖yᵀy‖² of centred rows."""
        x, y = slice(self._p), slice(self._p, self._p + self._q)
        return torch.stack([sums[a, b].square().sum() for a, b in ((x, y), (x, x), (y, y))])


class LinearCKA(_StreamingCKA):
    """`linear_cka` of all examples of all batches on all ranks, of rows of width `p` and `q`.

    NaN where `linear_cka` is, and without examples.
    """

    def compute(self) -> Float[Tensor, ""]:
        xy, xx, yy = self._squared(self._centred())
        value: Tensor = xy / (xx.sqrt() * yy.sqrt())
        return value


class DebiasedCKA(_StreamingCKA):
    """`debiased_cka` of all examples of all batches on all ranks, of rows of width `p` and `q`.

    NaN where `debiased_cka` is, and with fewer than 4 examples.
    """

    def compute(self) -> Float[Tensor, ""]:
        sums = self._centred()
        n = round(float(sums[-1, -1]))
        if n < MIN_EXAMPLES:
            return sums.new_tensor(torch.nan)
        squared = self._squared(sums)
        # in the order of `squared`: products of the norms of both sides, and their totals
        first, second = torch.tensor([[-3, -3, -2], [-2, -3, -2]])
        hsic = squared - biased_part(n, sums[first, second], sums[first, -1], sums[second, -1])
        xy, (xx, yy) = hsic[0], positive_or_nan(hsic[1:], squared[1:])
        value: Tensor = xy / (xx.sqrt() * yy.sqrt())
        return value


def _merged(states: Float[Tensor, "n_states _ s"], p: int) -> Float[Tensor, "_ s"]:
    """The moments of all states' examples, about the origin of the first that has any."""
    filled = [state for state in states if state[-2, -1]]
    if not filled:
        return states[0]
    total: Tensor = filled[0].clone()
    for state in filled[1:]:
        total[:-1] += _about(state[:-1], (total[-1] - state[-1])[:-3], p)
    return total


def _about(
    moments: Float[Tensor, "s s"], origin: Float[Tensor, " width"], p: int
) -> Float[Tensor, "s s"]:
    """Moments about a new origin, given relative to the old one: T·M·Tᵀ with the map T of a row."""
    for _ in range(2):  # M is symmetric: both sides are the same map
        of_one, moved = moments[-1], moments.clone()
        moved[:-3] -= origin[:, None] * of_one
        for norm, shift, side in ((-3, origin[:p], moments[:p]), (-2, origin[p:], moments[p:-3])):
            moved[norm] += shift.square().sum() * of_one - 2 * shift @ side
        moments = moved.mT
    return moments
