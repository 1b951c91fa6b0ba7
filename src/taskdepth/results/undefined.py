"""`Undefined`: why there is no value. Undefined is not zero, and it is not silent either."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Undefined:
    """One value that does not exist, and the reason in plain words."""

    role: str
    task: str
    depth: int
    name: str
    reason: str


def digest(undefined: Iterable[Undefined]) -> list[tuple[str, str]]:
    """What has no value, and why: one pair per measure, model and depth, however many tasks share it.

    >>> digest([Undefined("pretrained", t, 0, "debiased_cka", "no variance") for t in "ab"])
    [('debiased_cka, pretrained, depth 0 (2 tasks: a, b)', 'no variance')]
    """
    tasks: dict[tuple[str, str, int, str], list[str]] = defaultdict(list)
    for item in undefined:
        tasks[item.name, item.role, item.depth, item.reason].append(item.task)
    pairs = []
    for (name, role, depth, reason), names in tasks.items():
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        count = f"{len(names)} task{'s' if len(names) > 1 else ''}"
        pairs.append((f"{name}, {role}, depth {depth} ({count}: {shown})", reason))
    return pairs
