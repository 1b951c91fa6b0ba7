"""The manifest of a key's folder: written last, it says that all shards are there, and which."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
        write_json(folder / NAME, {"format": FORMAT_VERSION, **asdict(self)})

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
        try:
            if (version := content["format"]) != FORMAT_VERSION:
                raise ValueError(f"format {version}, this version reads {FORMAT_VERSION}")
            manifest = cls(
                about=dict(content["about"]),
                poolings=tuple(Pooling(name) for name in content["poolings"]),
                depths=tuple(content["depths"]),
                d_model=content["d_model"],
                dtype=content["dtype"],
                example_ids=tuple(content["example_ids"]),
                shards=tuple(record_of(record) for record in content["shards"]),
            )
        except KeyError as error:
            raise ValueError(f"no entry {error}") from None
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from None
        _check(manifest, content)
        return manifest


def _check(manifest: Manifest, content: dict[str, Any]) -> None:
    """Raises:
    ValueError: an entry is of the wrong kind, or the shards do not hold the rows one after the other.
    """
    lists = ("poolings", "depths", "example_ids", "shards")
    if not all(isinstance(content[name], list) for name in lists):
        raise ValueError("a list is none")
    depths = manifest.depths
    if any(type(depth) is not int or depth < 0 for depth in depths) or len(set(depths)) < len(
        depths
    ):
        raise ValueError(f"depths {depths}")
    if (
        type(manifest.d_model) is not int
        or manifest.d_model < 1
        or manifest.dtype not in list(DTYPES)
    ):
        raise ValueError(f"states of {manifest.d_model} values as {manifest.dtype}")
    if not all(isinstance(example_id, str) for example_id in manifest.example_ids):
        raise ValueError("an example_id is no text")
    stop = 0
    for record in manifest.shards:  # not row by row: a damaged record may speak of 10^18
        if record.start != stop or record.stop <= stop or record.number < 0:
            raise ValueError("its shards do not hold its rows")
        stop = record.stop
    if stop != len(manifest.example_ids):
        raise ValueError("its shards do not hold its rows")
    if len({record.number for record in manifest.shards}) < len(manifest.shards):
        raise ValueError("two of its shards are the same")
