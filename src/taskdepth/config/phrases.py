"""Phrases for what is wrong with a setting, which many settings share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from taskdepth.errors import nearest


def unknown(name: str, values: Iterable[str], known: Sequence[str]) -> list[str]:
    """One phrase for each of `values` that is not `known`.

    >>> unknown("model.dtype", ["int8"], ("float32", "float16"))
    ['model.dtype=int8 is unknown: known: float16, float32']
    """
    return [
        f"{name}={value} is unknown: {nearest(str(value), list(known))}"
        for value in values
        if value not in known
    ]


def below_one(section: str, settings: Any, names: Iterable[str]) -> list[str]:
    """One phrase for each of `names` in `settings` that is a number below 1; None is fine."""
    values = {name: getattr(settings, name) for name in names}
    return [
        f"{section}.{name} must be at least 1, not {value}"
        for name, value in values.items()
        if value is not None and value < 1
    ]
