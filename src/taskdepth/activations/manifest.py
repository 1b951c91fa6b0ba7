"""The manifest of a key's folder: written last, it says that all shards are there, and which."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from taskdepth.activations.pooling import Pooling
from taskdepth.activations.precision import DTYPES
from taskdepth.activations.shard import ShardRecord, record_of
from taskdepth.files import write_json

FORMAT_VERSION = 2
NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about the states but their values. It holds no times: equal states, equal bytes."""

    about: Mapping[str, Any]  # for people: model, task and the like
    poolings: tuple[Pooling, ...]
    depths: tuple[int, ...]
    d_model: int
    dtype: str  # on disk
    example_ids: tuple[str, ...]
    shards: tuple[ShardRecord, ...]

    def write(self, folder: Path) -> None:
        shards = [record.content() for record in self.shards]
        write_json(folder / NAME, {"format": FORMAT_VERSION, **asdict(self), "shards": shards})

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest in `folder`.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it cannot be used; the message says why.
        """
        try:
            content = json.loads((folder / NAME).read_text(encoding="utf-8"))
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if not isinstance(content, dict):
            raise ValueError("it holds no entries")
        if (version := content.get("format")) != FORMAT_VERSION:
            raise ValueError(f"format {version}, this version reads {FORMAT_VERSION}")
        for name, (words, fits) in KINDS.items():
            if name not in content or not fits(content[name]):
                raise ValueError(f"{name} is not {words}")
        try:
            shards = tuple(record_of(record) for record in content["shards"])
        except TypeError as error:
            raise ValueError(str(error)) from None
        _check_rows(shards, len(content["example_ids"]))
        return cls(
            about=content["about"],
            poolings=tuple(Pooling(name) for name in content["poolings"]),
            depths=tuple(content["depths"]),
            d_model=content["d_model"],
            dtype=content["dtype"],
            example_ids=tuple(content["example_ids"]),
            shards=shards,
        )


def _check_rows(shards: tuple[ShardRecord, ...], n_rows: int) -> None:
    """Raises:
    ValueError: the shards do not hold the rows one after the other, or two are the same.
    """
    stop = 0
    for record in shards:  # not row by row: a damaged record may speak of 10^18
        if record.start != stop or record.stop < stop or record.number < 0:
            raise ValueError("its shards do not hold its rows")
        stop = record.stop
    if stop != n_rows or len({record.number for record in shards}) < len(shards):
        raise ValueError("its shards do not hold its rows")


def _are_depths(value: Any) -> bool:
    whole = isinstance(value, list) and all(type(d) is int and d >= 0 for d in value)
    return whole and len(set(value)) == len(value)


def _is_list_of(value: Any, known: list[str] | None = None) -> bool:
    return isinstance(value, list) and all(
        isinstance(text, str) and (known is None or text in known) for text in value
    )


KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "about": ("an object", lambda value: isinstance(value, dict)),
    "poolings": ("a list of poolings", lambda value: _is_list_of(value, [*map(str, Pooling)])),
    "depths": ("a list of different depths", _are_depths),
    "d_model": ("a whole number from 1", lambda value: type(value) is int and value > 0),
    "dtype": ("one that states are kept in", lambda value: value in list(DTYPES)),
    "example_ids": ("a list of texts", _is_list_of),
    "shards": ("a list", lambda value: isinstance(value, list)),
}
