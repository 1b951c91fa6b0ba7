"""Leakage: the same prompt in two splits of a task, or in two tasks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

from taskdepth.tasks.spec import Source, TaskSpec
from taskdepth.tasks.splitting import digest
from taskdepth.types import Example, Split

MAX_EXAMPLE_IDS = 3


class Place(NamedTuple):
    task: str
    split: Split

    def __str__(self) -> str:
        return f"{self.task} {self.split.value}"


@dataclass(frozen=True, slots=True)
class Overlap:
    """`n_prompts` distinct prompts occur at both places; `example_ids`: a few of their rows at `second`."""

    first: Place
    second: Place
    n_prompts: int
    example_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeakageReport:
    """Which prompts occur at two places (task and split), the largest overlap first.

    `n_prompts` counts the distinct prompts of each place, `n_rows` its rows.
    """

    n_rows: dict[Place, int]
    n_prompts: dict[Place, int]
    overlaps: tuple[Overlap, ...]

    @property
    def across_splits(self) -> tuple[Overlap, ...]:
        """Overlaps between two splits of one task: a probe would be tested on what it has seen."""
        return tuple(o for o in self.overlaps if o.first.task == o.second.task)

    @property
    def across_tasks(self) -> tuple[Overlap, ...]:
        return tuple(o for o in self.overlaps if o.first.task != o.second.task)

    def rows(self) -> list[tuple[str, str, int, str]]:
        """One printable row per overlap: the two places, distinct prompts in common, a few ids."""
        return [
            (str(o.first), str(o.second), o.n_prompts, ", ".join(o.example_ids))
            for o in self.overlaps
        ]

    def to_dict(self) -> dict[str, Any]:
        return {
            "places": [
                {"task": p.task, "split": p.split.value, "rows": n, "prompts": self.n_prompts[p]}
                for p, n in self.n_rows.items()
            ],
            "overlaps": [
                {
                    "first": list(o.first),
                    "second": list(o.second),
                    "prompts": o.n_prompts,
                    "example_ids": list(o.example_ids),
                }
                for o in self.overlaps
            ],
        }


def find_leakage(source: Source, specs: Iterable[TaskSpec]) -> LeakageReport:
    """Exact duplicates of the prompts of `specs`, but for spacing, case and Unicode form.

    Inverted rows are left out: no probe sees them, and many are one and the same ("Write a
    sentence."). The same underlying example under two templates is two prompts and is not found.
    Rows are streamed; 16 bytes a prompt stay in memory.
    """
    index = _Index()
    for spec in specs:
        for split in Split:
            index.add(Place(spec.name, split), source.examples(spec.name, split))
    return index.report()


class _Index:
    """Where each prompt has been seen."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._n_rows: list[int] = []
        self._seen: dict[bytes, tuple[int, ...]] = {}
        # one tuple for all prompts of the same places, instead of one a prompt
        self._shared: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._ids: dict[tuple[int, int], list[str]] = defaultdict(list)

    def add(self, place: Place, examples: Iterable[Example]) -> None:
        here = len(self._places)
        self._places.append(place)
        self._n_rows.append(0)
        for example in examples:
            if example.inverted:
                continue
            self._n_rows[here] += 1
            key = digest(example.prompt)
            before = self._seen.get(key, ())
            if here in before:
                continue
            now = (*before, here)
            self._seen[key] = self._shared.setdefault(now, now)
            for there in before:
                if len(self._ids[there, here]) < MAX_EXAMPLE_IDS:
                    self._ids[there, here].append(example.example_id)

    def report(self) -> LeakageReport:
        n_prompts: Counter[int] = Counter()
        common: Counter[tuple[int, int]] = Counter()
        for where, n in Counter(self._seen.values()).items():
            n_prompts.update(dict.fromkeys(where, n))
            common.update(dict.fromkeys(combinations(where, 2), n))
        overlaps = tuple(
            Overlap(self._places[i], self._places[j], n, tuple(self._ids[i, j]))
            for (i, j), n in sorted(common.items(), key=lambda item: (-item[1], item[0]))
        )
        return LeakageReport(
            dict(zip(self._places, self._n_rows, strict=True)),
            {place: n_prompts[i] for i, place in enumerate(self._places)},
            overlaps,
        )
