"""`Undefined`: why there is no value. Undefined is not zero, and it is not silent either."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from taskdepth.results.wording import counted, spans


@dataclass(frozen=True, slots=True)
class Undefined:
    """One value that does not exist, and the reason in plain words."""

    role: str
    task: str
    depth: int
    name: str
    reason: str


def digest(undefined: Iterable[Undefined]) -> list[tuple[str, str]]:
    """What has no value, and why: one pair for all measures, depths and tasks that share model and reason.

    >>> digest([Undefined("pretrained", t, 0, "debiased_cka", "no variance") for t in "ab"])
    [('debiased_cka, pretrained, depth 0 (2 tasks: a, b)', 'no variance')]
    >>> digest([Undefined("pretrained", "a", d, m, "too few") for m in ("rsa", "svcca") for d in (0, 1)])
    [('rsa, svcca, pretrained, depths 0–1 (1 task: a)', 'too few')]
    """
    tasks: dict[tuple[str, str, str, int], list[str]] = defaultdict(list)
    for item in undefined:
        tasks[item.role, item.reason, item.name, item.depth].append(item.task)
    depths: dict[tuple[str, str, tuple[str, ...], str], list[int]] = defaultdict(list)
    for (role, reason, name, depth), names in tasks.items():
        depths[role, reason, tuple(names), name].append(depth)
    alike: dict[tuple[str, str, tuple[str, ...], str], list[str]] = defaultdict(list)
    for (role, reason, of_tasks, name), places in depths.items():
        alike[role, reason, of_tasks, spans(places)].append(name)
    pairs = []
    for (role, reason, of_tasks, at), names in alike.items():
        shown = ", ".join(of_tasks[:3]) + (", …" if len(of_tasks) > 3 else "")
        where = f"depth{'' if at.isdigit() else 's'} {at}"
        count = counted(len(of_tasks), "task")
        pairs.append((f"{', '.join(names)}, {role}, {where} ({count}: {shown})", reason))
    return pairs
