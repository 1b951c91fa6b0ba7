"""A shard: one safetensors file with the states of a range of rows, and the record that it is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor

from taskdepth.activations.pooling import Pooling
from taskdepth.activations.precision import DTYPES, centred, restored
from taskdepth.files import replacing

NAMES_OF_DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
MEAN = "mean/"


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """What a finished shard must look like. `not_finite` are the rows with a state that is no number."""

    number: int
    start: int  # rows start … stop - 1, in the caller's order
    stop: int
    dtype: str
    size_bytes: int
    blake2b: str
    not_finite: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return name_of(self.number)

    @property
    def rows(self) -> range:
        return range(self.start, self.stop)

    def content(self) -> dict[str, Any]:
        """For JSON; where all is finite, nothing is said of it."""
        content = asdict(self)
        if not self.not_finite:
            del content["not_finite"]
        return content

    def problem(self, folder: Path, *, checksum: bool) -> str | None:
        """What is wrong with the file, or None; only with `checksum` is all of it read."""
        path = folder / self.name
        if path.is_symlink():
            return f"{path} is a link: states lie in their own folder"
        if not path.is_file():
            return f"{path} is missing"
        if (size := path.stat().st_size) != self.size_bytes:
            return f"{path} is torn: {size} bytes of {self.size_bytes}"
        if checksum and checksum_of(path) != self.blake2b:
            return f"{path} was altered: its checksum differs"
        return None


def name_of(number: int) -> str:
    return f"shard-{number:05}.safetensors"


def record_name_of(number: int) -> str:
    return f"shard-{number:05}.json"


def record_of(content: Any) -> ShardRecord:
    """A record from JSON.

    Raises:
        ValueError, TypeError: it is none.
    """
    content = dict(content)
    not_finite = content.pop("not_finite", [])
    kinds = {name: type(value) for name, value in content.items()}
    if kinds != dict.fromkeys(("number", "start", "stop", "size_bytes"), int) | dict.fromkeys(
        ("dtype", "blake2b"), str
    ):
        raise ValueError(f"no record of a shard: {content}")
    record = ShardRecord(**content)
    known = isinstance(not_finite, list) and all(type(row) is int for row in not_finite)
    if not known or any(not record.start <= row < record.stop for row in not_finite):
        raise ValueError(f"no rows of {record.name}: {not_finite}")
    return replace(record, not_finite=tuple(not_finite))


def read_record(path: Path) -> ShardRecord | None:
    """The record that lies beside a shard while others are missing; None where none can be read."""
    try:
        return record_of(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def tensors_of(
    states: Mapping[Pooling, Float[Tensor, "n_depths n d_model"]], dtype: str
) -> dict[str, Tensor]:
    """The tensors of a shard's file, by name."""
    tensors = {}
    for pooling in sorted(states):
        kept = states[pooling].detach().cpu().float()
        if dtype != "float32":
            kept, tensors[f"{MEAN}{pooling}"] = centred(kept, dtype)
        tensors[str(pooling)] = kept
    return {name: tensor.contiguous() for name, tensor in sorted(tensors.items())}


def write(
    folder: Path, number: int, rows: range, dtype: str, tensors: Mapping[str, Tensor]
) -> ShardRecord:
    """Put the file into `folder`: whole, or not at all."""
    with replacing(folder / name_of(number)) as partial:
        size, checksum = save(tensors, partial)
    bad = not_finite([kept for name, kept in tensors.items() if not name.startswith(MEAN)])
    found = tuple(rows.start + row for row in bad)
    return ShardRecord(number, rows.start, rows.stop, dtype, size, checksum, found)


def not_finite(states: Iterable[Float[Tensor, "n_depths n d_model"]]) -> list[int]:
    """The rows with a state that is no number, in any of `states` and at any depth."""
    found: set[int] = set()
    for of_pooling in states:
        # one sum is soon done, and finite where all is
        if not of_pooling.sum(dtype=torch.float32).isfinite():
            found |= set((~of_pooling.isfinite().all(dim=2).all(dim=0)).nonzero()[:, 0].tolist())
    return sorted(found)


def save(tensors: Mapping[str, Tensor], path: Path) -> tuple[int, str]:
    """Write the safetensors format; returns size and checksum.

    By hand, since `safetensors.torch.save_file` reports a full disk as text only, leaves a temporary
    file of its own behind when killed, and keeps other users from reading; and since the checksum
    comes along here, without reading again. https://github.com/huggingface/safetensors#format
    """
    header, end = {}, 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": NAMES_OF_DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    parts: list[bytes | memoryview] = [len(text).to_bytes(8, "little"), text]
    parts += [t.reshape(-1).view(torch.uint8).numpy().data for t in tensors.values()]
    digest = hashlib.blake2b(digest_size=32)
    with path.open("wb") as handle:
        for part in parts:
            digest.update(part)
            handle.write(part)
        return handle.tell(), digest.hexdigest()


def checksum_of(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def shapes(path: Path) -> dict[Pooling, tuple[int, int, int]]:
    """`(n_depths, n, d_model)` of each pooling in a shard; only its header is read."""
    with safe_open(path, "pt") as file:
        return {
            Pooling(name): tuple(file.get_slice(name).get_shape())
            for name in sorted(file.keys())
            if not name.startswith(MEAN)
        }


def read(
    path: Path, pooling: Pooling, depths: list[int] | slice, rows: list[int] | slice
) -> Float[Tensor, "n_depths n d_model"]:
    """Some depths and rows of one pooling, float32. The file is mapped: no other part of it is loaded.

    What needs no copy is a view of the mapping; writing to it does not reach the file.
    """
    with safe_open(path, "pt") as file:
        kept: Tensor = file.get_tensor(str(pooling))[depths][:, rows]
        if kept.dtype == DTYPES["float32"]:
            return kept
        return restored(kept, file.get_tensor(f"{MEAN}{pooling}")[depths])
