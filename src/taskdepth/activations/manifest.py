"""The manifest of a key's folder: written last, it says that all shards are there, and which."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from taskdepth.activations.pooling import Pooling
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
        except TypeError as error:
            raise ValueError(str(error)) from None
        rows = [row for shard in manifest.shards for row in shard.rows]
        if rows != list(range(len(manifest.example_ids))):
            raise ValueError("its shards do not hold its rows")
        return manifest
