"""Which rows of which tasks a model is tuned on, and how often."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import Example


@dataclass(frozen=True, slots=True)
class Mixture:
    """Examples-proportional mixing: every row once an epoch, under the caps.

    `cap_per_cluster_examples` is shared out among a cluster's tasks in proportion to their rows.
    """

    cap_per_task_examples: int | None = None
    cap_per_cluster_examples: int | None = None

    def draw(
        self, rows: Mapping[str, Sequence[Example]], specs: Sequence[TaskSpec], seed: int
    ) -> list[Example]:
        """The rows of one epoch, in the order of `specs`; which rows a cap keeps depends on `seed`."""
        kept = {
            spec.name: _sample(rows[spec.name], self.cap_per_task_examples, f"{seed}/{spec.name}")
            for spec in specs
        }
        clusters: dict[str, list[str]] = defaultdict(list)
        for spec in specs:
            clusters[spec.cluster].append(spec.name)
        cap = self.cap_per_cluster_examples
        for names in clusters.values():
            total = sum(len(kept[name]) for name in names)
            if cap is None or total <= cap:
                continue
            for name, share in zip(names, _shares([len(kept[n]) for n in names], cap), strict=True):
                kept[name] = _sample(kept[name], share, f"{seed}/{name}/cluster")
        return [example for spec in specs for example in kept[spec.name]]


def _sample(rows: Sequence[Example], limit: int | None, seed: str) -> list[Example]:
    if limit is None or len(rows) <= limit:
        return list(rows)
    chosen = sorted(random.Random(seed).sample(range(len(rows)), limit))
    return [rows[i] for i in chosen]


def _shares(sizes: Sequence[int], total: int) -> list[int]:
    """`total` in proportion to `sizes`, whole numbers, largest remainders first.

    >>> _shares([1, 1, 2], 3)
    [1, 1, 1]
    """
    exact = [total * size / sum(sizes) for size in sizes]
    shares = [int(x) for x in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares
