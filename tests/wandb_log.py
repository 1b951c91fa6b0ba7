"""Read a W&B offline run back from its transaction log, without W&B's own reader.

The file is a LevelDB log: after a header of 7 bytes, blocks of 32 KiB hold records of checksum, length,
type and data; a record may span blocks. https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK_BYTES = 32 * 1024
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def names(folder: Path) -> list[str]:
    """The parts of their command that the runs below `folder` are about, `` for a run that is all of it."""
    return sorted(path.stem.partition("-")[2].partition("-")[2] for path in _files(folder))


def records(folder: Path, part: str = "") -> list[Any]:
    """Every record of the first offline run below `folder` of that part, up to the one that ends it.

    W&B's service writes the end of the file a moment after `finish` has returned.
    """
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        found = list(_records(folder, part))
        if found and found[-1].WhichOneof("record_type") == "exit":
            return found
        time.sleep(0.05)
    raise TimeoutError(f"the run {part} in {folder} never ended")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.wandb") if "latest-run" not in path.parts]


def _records(folder: Path, part: str) -> Iterator[Any]:
    paths = [p for p in _files(folder) if p.stem.partition("-")[2].partition("-")[2] == part]
    if not paths:
        return
    content = min(paths).read_bytes()  # runs are called by their time
    position, parts = 7, b""
    while position + 7 <= len(content):
        if BLOCK_BYTES - position % BLOCK_BYTES < 7:
            position += BLOCK_BYTES - position % BLOCK_BYTES
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        data = content[position + 7 : position + 7 + length]
        if len(data) < length:
            return
        position += 7 + length
        parts = data if kind in (FULL, FIRST) else parts + data
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record


def history(folder: Path, part: str = "") -> list[dict[str, Any]]:
    """What was logged, one dict per call of log."""
    return [
        {
            "/".join(item.nested_key) or item.key: json.loads(item.value_json)
            for item in r.history.item
        }
        for r in records(folder, part)
        if r.WhichOneof("record_type") == "history"
    ]


def metrics(folder: Path, part: str = "") -> dict[str, Any]:
    """Glob or name of each defined metric → its definition."""
    found = [r.metric for r in records(folder, part) if r.WhichOneof("record_type") == "metric"]
    return {metric.glob_name or metric.name: metric for metric in found}


def about(folder: Path, part: str = "") -> Any:
    """The record that a run begins with: names, group, job type, tags, notes, config."""
    return next(r.run for r in records(folder, part) if r.WhichOneof("record_type") == "run")


def config(folder: Path, part: str = "") -> dict[str, Any]:
    """The settings that a run was begun with."""
    return {item.key: json.loads(item.value_json) for item in about(folder, part).config.update}


def charts(folder: Path, part: str = "") -> dict[str, Any]:
    """Key of each custom chart → its definition."""
    return {
        item.nested_key[-1]: json.loads(item.value_json)
        for r in records(folder, part)
        if r.WhichOneof("record_type") == "config"
        for item in r.config.update
        if list(item.nested_key[:2]) == ["_wandb", "visualize"]
    }


def summary(folder: Path, part: str = "") -> dict[str, Any]:
    """The last value of everything."""
    found: dict[str, Any] = {}
    for r in records(folder, part):
        if r.WhichOneof("record_type") == "summary":
            for item in r.summary.update:
                found["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    return found


def artifacts(folder: Path, part: str = "", *, used: bool = False) -> dict[str, Any]:
    """Name of each artifact that the run made, or that it `used` → its record."""
    return {
        r.artifact.name: r.artifact
        for r in records(folder, part)
        if r.WhichOneof("record_type") == "artifact" and r.artifact.use_after_commit == used
    }


def files_of(artifact: Any) -> set[str]:
    return {entry.path for entry in artifact.manifest.contents}
