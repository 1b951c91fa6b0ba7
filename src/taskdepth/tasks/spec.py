"""What a task is (`TaskSpec`), where its rows come from (`Source`), and how tasks are chosen by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from taskdepth.errors import DataError, nearest
from taskdepth.types import Example, Split

MAX_NAME_BYTES = 200  # file systems take 255, and endings are added
# neither hidden nor `..`; no separator of any system, no control character, no half of a surrogate pair
_FILE_NAME = re.compile(r"(?![.])[^/\\\x00-\x1f\x7f\ud800-\udfff]+")


class Kind(StrEnum):
    CLASSIFICATION = "classification"
    MULTIPLE_CHOICE = "multiple_choice"
    GENERATION = "generation"


class Score(StrEnum):
    """How well answers are right. All lie between 0 and 1, higher is better."""

    ACCURACY = "accuracy"  # the likeliest of a closed set of answers is right
    EXACT_MATCH = "exact_match"
    F1 = "f1"  # of words
    ROUGE_L = "rouge_l"
    BLEU = "bleu"


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task. `labels` is its closed label set, sorted; empty when it has none.

    `score` is the one that the field quotes for it; None: accuracy for a closed set, else exact match.

    Raises:
        DataError: the name cannot be a file's; files and folders of runs are called by it.
    """

    name: str
    cluster: str
    kind: Kind
    labels: tuple[str, ...] = ()
    score: Score | None = None

    def __post_init__(self) -> None:
        if (
            not _FILE_NAME.fullmatch(self.name)
            or len(self.name.encode("utf-8", "replace")) > MAX_NAME_BYTES
        ):
            raise DataError(
                f"{self.name!r} cannot be a task's name: files are called by it, so it is no path, "
                f"and has at most {MAX_NAME_BYTES} bytes"
            )

    def label_id(self, label: str) -> int:
        """The class id of `label`.

        Raises:
            DataError: `label` is not in the closed set.
        """
        try:
            return self.labels.index(label)
        except ValueError:
            raise DataError(
                f"task {self.name}: label {label!r} is not one of {', '.join(self.labels)}"
            ) from None


class Specs(Mapping[str, TaskSpec]):
    """Specs by name, each made when first asked for; `absent` says why known tasks are not on offer.

    >>> specs = Specs(["a"], lambda name: TaskSpec(name, "x", Kind.GENERATION), {"b": "b is lost"})
    >>> "a" in specs, "b" in specs, specs["a"].cluster
    (True, False, 'x')
    """

    def __init__(
        self,
        names: Iterable[str],
        make: Callable[[str], TaskSpec],
        absent: Mapping[str, str] | None = None,
    ) -> None:
        self._made: dict[str, TaskSpec | None] = dict.fromkeys(names)
        self._make = make
        self.absent = dict(absent or {})

    def __getitem__(self, name: str) -> TaskSpec:
        spec = self._made[name]
        if spec is None:
            spec = self._made[name] = self._make(name)
        return spec

    def __contains__(self, name: object) -> bool:
        return name in self._made

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def known(self, name: str) -> str:
        """`name`, when it is on offer.

        Raises:
            DataError: it is not; the message says why, or gives the nearest names.
        """
        if name in self.absent:
            raise DataError(self.absent[name])
        if name not in self._made:
            raise DataError(f"unknown task {name!r}: {nearest(name, list(self))}")
        return name


class Source(Protocol):
    """Where tasks and their rows come from."""

    def specs(self) -> Mapping[str, TaskSpec]:
        """Every task on offer, by name, in a stable order."""
        ...

    def examples(self, task: str, split: Split) -> Iterable[Example]:
        """The rows of one split of one task, in a stable order; iterating again reads them again."""
        ...

    def plain_text(self, split: Split) -> Iterable[str]:
        """Running text of the same world, for training a tokenizer and pre-training a small model."""
        ...

    def skipped(self) -> Mapping[str, Sequence[str]]:
        """What `on_error=skip` has left out so far: task → one line per row, saying where and why."""
        ...


def select_tasks(
    specs: Mapping[str, TaskSpec], wanted: str | Sequence[str]
) -> tuple[TaskSpec, ...]:
    """The tasks that `wanted` names, in the source's order: `all`, names, or `cluster:<name>`.

    Raises:
        DataError: a name is unknown (the message gives the nearest ones), or nothing is left.

    >>> specs = {n: TaskSpec(n, c, Kind.GENERATION) for n, c in [("a", "x"), ("b", "y"), ("c", "x")]}
    >>> [s.name for s in select_tasks(specs, ["cluster:x", "b"])]
    ['a', 'b', 'c']
    """
    items = [wanted] if isinstance(wanted, str) else list(wanted)
    chosen: set[str] = set()
    for item in items:
        if item == "all":
            chosen.update(specs)
        elif item.startswith("cluster:"):
            chosen.update(_members(specs, item.removeprefix("cluster:")))
        elif item in specs:
            chosen.add(item)
        elif isinstance(specs, Specs):
            specs.known(item)
        else:
            raise DataError(f"unknown task {item!r}: {nearest(item, list(specs))}")
    if not chosen:
        raise DataError("no task is chosen: tasks=all, tasks=[a,b] or tasks=cluster:<name>")
    # only the chosen specs are asked for: making one may need a pass over its file
    return tuple(specs[name] for name in specs if name in chosen)


def _members(specs: Mapping[str, TaskSpec], cluster: str) -> list[str]:
    clusters = sorted({spec.cluster for spec in specs.values()})
    if cluster not in clusters:
        raise DataError(f"unknown cluster {cluster!r}: {nearest(cluster, clusters)}")
    return [name for name, spec in specs.items() if spec.cluster == cluster]
