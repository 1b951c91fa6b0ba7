"""`Layout`: broadcast leading dimensions, sorted by whether the inputs differ along them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from taskdepth.errors import DataError


@dataclass(frozen=True, slots=True)
class Layout:
    """How broadcast leading dimensions become b inputs with g label sets each."""

    problems: tuple[int, ...]
    own: tuple[int, ...]  # the dimensions along which inputs differ
    shared: tuple[int, ...]  # those along which label sets share inputs

    @classmethod
    def of(cls, x: Tensor, *per_row: Tensor) -> Layout:
        """The layout of inputs `x` and of values per row, such as labels and weights.

        Raises:
            DataError: the leading dimensions do not broadcast.
        """
        try:
            problems = np.broadcast_shapes(x.shape[:-2], *(t.shape[:-1] for t in per_row))
        except ValueError:
            shapes = " and ".join(str(list(t.shape)) for t in (x, *per_row))
            raise DataError(f"leading dimensions of {shapes} do not broadcast") from None
        sizes = (1,) * (len(problems) - x.ndim + 2) + x.shape[:-2]
        shared = tuple(i for i, size in enumerate(sizes) if size < problems[i])
        return cls(problems, tuple(i for i in range(len(problems)) if i not in shared), shared)

    def _sizes(self, dims: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self.problems[i] for i in dims)

    def inputs(self, x: Tensor) -> Float[Tensor, "b n d"]:
        return x.reshape(math.prod(self._sizes(self.own)), *x.shape[-2:])

    def per_problem(self, values: Tensor, n_trailing: int) -> Tensor:
        """`[*problems, …]` as `[b, g, …]`."""
        trailing = values.shape[values.ndim - n_trailing :]
        values = values.expand((*self.problems, *trailing))
        order = (*self.own, *self.shared)
        values = values.permute((*order, *range(len(order), values.ndim)))
        return values.reshape((math.prod(self._sizes(self.own)), -1, *trailing))

    def restore(self, values: Tensor) -> Tensor:
        """`[b, g, …]` as `[*problems, …]`."""
        order = (*self.own, *self.shared)
        back = sorted(range(len(order)), key=order.__getitem__)
        values = values.reshape((*self._sizes(order), *values.shape[2:]))
        return values.permute((*back, *range(len(order), values.ndim)))
