"""Minimum description length by the online code (Voita & Titov 2020, arXiv:2003.12298, section 2.2.2).

How many bits the labels of the training rows cost somebody who has the states: few where a probe
learns them soon. Accuracy says what can be learnt, the code length also how hard that is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from taskdepth.probing.choice import TOLERANCE
from taskdepth.probing.problem import ProbeProblem
from taskdepth.probing.scaling import Scaling
from taskdepth.probing.scores import log_probabilities
from taskdepth.probing.solver import fit_path

# the portions of the paper, in percent of the rows
PORTIONS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.25, 12.5, 25.0, 50.0, 100.0)
ROWS_PER_CLASS = 2  # in the first block, at least


@dataclass(frozen=True, slots=True, eq=False)
class DescriptionLength:
    """The code length of `n` labels at every depth, and by how much the uniform code is longer."""

    bits: Float[Tensor, " n_depths"]
    compression: Float[Tensor, " n_depths"]
    n: int


def block_ends(n: int, n_classes: int) -> list[int]:
    """After how many rows each block ends; the first holds at least two rows per class.

    >>> block_ends(1000, 3)
    [6, 8, 16, 32, 62, 125, 250, 500, 1000]
    """
    first = min(n, ROWS_PER_CLASS * n_classes)
    return sorted({max(first, round(n * portion / 100)) for portion in PORTIONS})


def description_length(problem: ProbeProblem, l2s: Sequence[float], seed: int) -> DescriptionLength:
    """The online code of the training rows' labels, in an order that `seed` decides.

    The first block has the uniform code. Every other is coded by probes fitted to the rows before
    it, at each depth with the L2 under which the validation rows have the shortest code.
    """
    rows = problem.is_train.nonzero()[:, 0]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    rows = rows[order.to(rows.device)]
    n, n_classes = len(rows), len(problem.class_names)
    # the states are known to both sides of the code, all of them from the start
    states = problem.x[:, rows]
    scaling = Scaling.none(states) if problem.is_scaled else Scaling.of(states)
    x, y = scaling.apply(states), problem.y[rows]
    held_out = scaling.apply(problem.x[:, problem.is_validation])
    y_held_out = problem.y[problem.is_validation]
    ends = block_ends(n, n_classes)
    bits = torch.full((x.shape[0],), ends[0] * math.log2(n_classes), dtype=torch.float64)
    for start, end in pairwise(ends):
        fits = fit_path(x[:, :start], y[:start], l2s, n_classes=n_classes, tolerance=TOLERANCE)
        seen = y[:start]
        block = [_bits(log_probabilities(fit, x[:, start:end]), y[start:end], seen) for fit in fits]
        judged = [_bits(log_probabilities(fit, held_out), y_held_out, seen) for fit in fits]
        best = torch.stack(judged).argmin(dim=0, keepdim=True)
        bits += torch.stack(block).gather(0, best)[0].cpu()
    return DescriptionLength(bits, n * math.log2(n_classes) / bits, n)


def _bits(
    log_p: Float[Tensor, "n_depths n classes"],
    y: Int[Tensor, " n"],
    seen: Int[Tensor, " n_seen"],
) -> Float[Tensor, " n_depths"]:
    """The code length of `y`.

    A class that the probe has not seen has no probability, and no code. Where there are such classes
    one part in `n_seen` + 1 is set aside for them, as for one more row, and shared out evenly.
    """
    absent = torch.ones(log_p.shape[-1], dtype=torch.bool, device=log_p.device)
    absent[seen] = False
    n_absent, n_seen = int(absent.sum()), len(seen)
    if n_absent:
        log_p = log_p + math.log(n_seen / (n_seen + 1))
        log_p = log_p.masked_fill(absent, -math.log(n_absent * (n_seen + 1)))
    of_label = log_p.gather(-1, y.expand(log_p.shape[0], -1)[..., None])
    return -of_label.sum(dim=(1, 2)) / math.log(2)
