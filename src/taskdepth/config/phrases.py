"""Phrases for what is wrong with a setting, which many settings share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from taskdepth.config.schemas import (
    MOST_REGIONS,
    REGION_NAMES,
    PlacementConfig,
    SelectionConfig,
)
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


def wrong_region(
    group: str, settings: SelectionConfig | PlacementConfig, policies: Sequence[str]
) -> list[str]:
    """A number of regions that is none, or a region that will not be among them.

    With a number to be chosen, any name that a region could have will do.
    """
    n, region = settings.n_regions, settings.region
    if n is not None and n < 2:
        return [f"{group}.n_regions must be at least 2, or null: as many as the curves show"]
    if not {"region", "inverse"} & {*policies}:
        return []
    names = [f"region_{k}" for k in range(1, (n or MOST_REGIONS) + 1)]
    if n is None:
        names = [*REGION_NAMES, *names]
    elif n == len(REGION_NAMES):
        names = [*REGION_NAMES]
    return unknown(f"{group}.region", [region], names)


def below_one(section: str, settings: Any, names: Iterable[str]) -> list[str]:
    """One phrase for each of `names` in `settings` that is a number below 1; None is fine."""
    values = {name: getattr(settings, name) for name in names}
    return [
        f"{section}.{name} must be at least 1, not {value}"
        for name, value in values.items()
        if value is not None and value < 1
    ]
