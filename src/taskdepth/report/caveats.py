"""What a reader must know before trusting a number, and where the numbers come from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from taskdepth.report.task_lines import about_one_task
from taskdepth.results.table import LayerTable

# the 95 % interval of an accuracy near 0.5 is then ± 2·√(0.25/50) = ± 0.14 or wider
SMALL_N = 50


def caveats(
    table: LayerTable, undefined: Sequence[tuple[str, str]] = ()
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What a reader must know before trusting a number: a sentence, and the cases it is about."""
    found: list[tuple[str, tuple[str, ...]]] = []
    by_reason = sorted(undefined, key=lambda pair: pair[1])
    for reason, pairs in groupby(by_reason, key=lambda pair: pair[1]):
        cases = tuple(what for what, _ in pairs)
        found.append((f"Undefined: {reason.rstrip('.')}.", cases))
    missing = sum(bool(np.isnan(row.value)) for row in table)
    if missing and not undefined:
        found.append((f"{missing:,} of {len(table):,} values are undefined (NaN).", ()))
    small = {row.task: row.n for row in about_one_task(table) if row.n < SMALL_N}
    if small:
        cases = tuple(f"{task}: n = {n}" for task, n in small.items())
        found.append((f"Tasks with fewer than {SMALL_N} examples: {len(small)}.", cases))
    sizes = sorted({row.n for row in table.where(kind="similarity")})
    if len(sizes) > 1:
        found.append(
            (
                f"Similarities rest on {sizes[0]:,} to {sizes[-1]:,} examples: compare a task with "
                "itself over layers, or compare tasks after similarity.match_n.",
                (),
            )
        )
    return tuple(found)


def flatten(content: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names and text.

    >>> flatten({"seed": 1, "versions": {"torch": "2.13.0"}})
    [('seed', '1'), ('versions.torch', '2.13.0')]
    """
    lines: list[tuple[str, str]] = []
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            lines += flatten(value, f"{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            lines.append((name, text))
    return lines
