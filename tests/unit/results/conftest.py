"""A small layer table with the rows that a full run writes, and a placement to go with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from taskdepth.results.table import LayerTable, Row


@dataclass(frozen=True)
class FakeRegions:
    boundaries: tuple[int, ...]
    intervals: tuple[tuple[int, int], ...]
    n_layers: int
    found: bool = True
    names: tuple[str, ...] = ("shared", "transition", "refinement")
    chosen: bool = False


@dataclass(frozen=True)
class FakePlacement:
    blocks: tuple[int, ...]
    n_blocks: int
    policy: str = "refinement"
    reason: str = "tasks are refined in these layers"
    model: str = "tiny"


def build_table(tasks: dict[str, str], n_layers: int, *, seed: int = 0) -> LayerTable:
    """Every kind of row for `tasks` (name -> cluster): similarity falls, accuracy rises with depth.

    Depth 0 is undefined (NaN), as it is where every prompt ends in the same token.
    """
    rng = np.random.default_rng(seed)
    rows: list[Row] = []

    def add(role: str, where: tuple[str, str, int], kind: str, name: str, value: float, **more):
        value = math.nan if where[2] == 0 else value
        columns = {"n": 200, "lower": value - 0.03, "upper": value + 0.03, "seed": 1, **more}
        rows.append(Row("tiny", role, *where, kind, name, value, **columns))

    for role, gain in (("pretrained", 0.0), ("experimental", 0.15)):
        for depth in range(n_layers + 1):
            x = depth / n_layers
            for index, (task, cluster) in enumerate(tasks.items()):
                at, noise = (task, cluster, depth), rng.normal(0, 0.02)
                similar = 0.95 - (0.75 - gain) / (1 + math.exp(-12 * (x - 0.55))) + noise
                floor = rng.normal(0, 0.01)
                for name, value in (("debiased_cka", similar), ("linear_cka", similar + 0.04)):
                    for suffix, shown in (("", value), ("_shuffled", floor), ("@mean", value / 2)):
                        add(role, at, "similarity", name + suffix, shown, reference="control")
                majority = 0.4 + 0.02 * (index % 5)
                accuracy = majority + 0.4 * x * (1 - 0.3 * x) + gain * x / 2 + noise
                for name, value in (
                    ("accuracy", accuracy),
                    ("majority", majority),
                    ("control_task_accuracy", majority - 0.02),
                    ("accuracy@mean", accuracy - 0.1),
                ):
                    add(role, at, "probe", name, value, target="label", n=60 + index)
            for cluster in dict.fromkeys(tasks.values()):
                at = (cluster, cluster, depth)
                add(role, at, "probe", "recall", 0.5, target="cluster", n=7)
            for target, classes in (("task", len(tasks)), ("cluster", len(set(tasks.values())))):
                for name, value in (
                    ("accuracy", 0.6 + (0.2 + gain) * math.sin(2 * x)),
                    ("majority", 1 / classes),
                    ("control_task_accuracy", 1 / classes + 0.02),
                ):
                    add(role, ("all", "all", depth), "probe", name, value, target=target, n=640)
    return LayerTable(rows)


TASKS = {"rte": "nli", "sst2": "sentiment", "cb": "nli", "imdb": "sentiment", "aeslc": "summaries"}


@pytest.fixture(scope="session")
def make_table() -> Callable[..., LayerTable]:
    return build_table


@pytest.fixture(scope="session")
def table() -> LayerTable:
    """Five tasks in three clusters (not in cluster order), eight layers."""
    return build_table(TASKS, 8)


@pytest.fixture(scope="session")
def regions() -> FakeRegions:
    return FakeRegions(boundaries=(3, 5), intervals=((2, 3), (5, 6)), n_layers=8)


@pytest.fixture(scope="session")
def selection() -> FakePlacement:
    return FakePlacement(blocks=(5, 6, 7), n_blocks=8)
