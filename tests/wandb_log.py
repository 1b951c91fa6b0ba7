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


def records(folder: Path) -> list[Any]:
    """Every record of the one offline run below `folder`, up to the one that ends it.

    W&B's service writes the end of the file a moment after `finish` has returned.
    """
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        found = list(_records(folder))
        if found and found[-1].WhichOneof("record_type") == "exit":
            return found
        time.sleep(0.05)
    raise TimeoutError(f"the run in {folder} never ended")


def _records(folder: Path) -> Iterator[Any]:
    paths = [path for path in folder.rglob("*.wandb") if "latest-run" not in path.parts]
    if not paths:
        return
    (path,) = paths
    content = path.read_bytes()
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


def history(folder: Path) -> list[dict[str, Any]]:
    """What was logged, one dict per call of log."""
    return [
        {
            "/".join(item.nested_key) or item.key: json.loads(item.value_json)
            for item in r.history.item
        }
        for r in records(folder)
        if r.WhichOneof("record_type") == "history"
    ]


def step_metrics(folder: Path) -> dict[str, str]:
    """Glob of metrics → the metric on their x axis."""
    found = [r.metric for r in records(folder) if r.WhichOneof("record_type") == "metric"]
    return {metric.glob_name or metric.name: metric.step_metric for metric in found}


def artifacts(folder: Path) -> dict[str, set[str]]:
    """Name of each artifact → the files in it."""
    return {
        r.artifact.name: {entry.path for entry in r.artifact.manifest.contents}
        for r in records(folder)
        if r.WhichOneof("record_type") == "artifact"
    }
