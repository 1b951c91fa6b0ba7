"""Regions and chosen blocks, as far as figures and sentences know them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from taskdepth.results.wording import spans


class Regions(Protocol):
    """Where the layers split. `boundaries`: the 1-based last layer of each region but the last;
    `intervals`: the 95 % range of each; `names`: one for each region; `chosen`: whether their number
    was chosen for the curves."""

    @property
    def boundaries(self) -> Sequence[int]: ...
    @property
    def intervals(self) -> Sequence[tuple[int, int]]: ...
    @property
    def found(self) -> bool: ...
    @property
    def n_layers(self) -> int: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def chosen(self) -> bool: ...


class Placement(Protocol):
    """The blocks that an adapter should go into, and why."""

    @property
    def blocks(self) -> Sequence[int]: ...
    @property
    def n_blocks(self) -> int: ...
    @property
    def policy(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def model(self) -> object: ...


def region_names(regions: Regions | None) -> list[tuple[str, int, int]]:
    """Name, first and last layer of each region; empty where none was found."""
    if regions is None or not regions.found:
        return []
    ends = [*regions.boundaries, regions.n_layers]
    starts = [1, *(end + 1 for end in ends[:-1])]
    return list(zip(regions.names, starts, ends, strict=True))


def number_of_regions(regions: Regions) -> str:
    """A sentence on the number of regions found, where it was chosen; "" where it was asked for."""
    return f" The curves show {len(regions.names)} regions, not fewer." if regions.chosen else ""


def region_text(regions: Regions | None) -> str:
    """Their names and layers, for a caption."""
    named = [f"{name} {spans(range(a, b + 1))}" for name, a, b in region_names(regions)]
    return f"regions: {', '.join(named)}" if named else "no regions"
