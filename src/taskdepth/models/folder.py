"""What a model or adapter folder may make us do: nothing but read weights.

A folder from elsewhere is JSON and safetensors, and yet its JSON can ask transformers and PEFT for more:
to import Python of its own or of another repo, to fetch a compiled kernel, to read another model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub.constants import HF_HUB_CACHE

from taskdepth.errors import ModelError

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def trusts(named: str | None, folder: Path) -> bool:
    """Whether `named`, a hub id or a folder, is the model in `folder`: only then may its own code run."""
    if named is None:
        return False
    if Path(named).is_dir():
        return Path(named).resolve() == folder.resolve()
    snapshots = Path(HF_HUB_CACHE) / f"models--{named.replace('/', '--')}"
    return folder.resolve().is_relative_to(snapshots.resolve())


def revision_of(folder: Path) -> str | None:
    """The commit of a hub snapshot; None for any other folder."""
    is_snapshot = folder.parent.name == "snapshots" and folder.is_relative_to(
        Path(HF_HUB_CACHE).resolve()
    )
    return folder.name if is_snapshot else None


def check_model(folder: Path, trust_remote_code: str | None) -> None:
    """Refuse a model folder that asks for more than to be read.

    Raises:
        ModelError: it does, or its JSON cannot be read.
    """
    if (folder / ADAPTER_CONFIG).is_file():
        raise ModelError(
            f"{folder} holds an adapter beside the model, and which of them counts is not clear: part them"
        )
    for name in ("config.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            continue
        content = read_object(folder / name)
        for reference in _strings(content.get("auto_map")):
            repo, has_repo, _ = reference.partition("--")
            if has_repo and repo != trust_remote_code:
                raise ModelError(
                    f"{folder / name} takes code from another repo, {repo}: this is not read"
                )
        for kernel in _strings([content.get(f"{dash}attn_implementation") for dash in ("", "_")]):
            check_attention(kernel, folder / name)
    for index in folder.glob("*.index.json"):
        for shard in set(_strings(read_object(index).get("weight_map"))):
            if Path(shard).name != shard:
                raise ModelError(f"{index} names weights outside its folder: {shard}")
            if not shard.endswith(".safetensors"):
                raise ModelError(f"{index} names weights that are no safetensors: {shard}")


def check_attention(implementation: Any, source: object) -> None:
    """Refuse an attention implementation that would be fetched.

    Raises:
        ModelError: it is a kernel from the hub, which is compiled code of somebody's.
    """
    if isinstance(implementation, str) and "/" in implementation:
        raise ModelError(f"{source} asks for a kernel from the hub, {implementation}: not allowed")


def check_adapter(folder: Path) -> None:
    """Refuse an adapter folder without safetensors, or whose config brings in something else.

    Raises:
        ModelError: it has none, or its config does.
    """
    if not (folder / ADAPTER_WEIGHTS).is_file():
        others = sorted(path.name for path in folder.glob("adapter_model.*"))
        said = f" ({', '.join(others)} could run code and is not read)" if others else ""
        raise ModelError(f"{folder} holds no adapter in safetensors format{said}")
    options = read_object(folder / ADAPTER_CONFIG)
    for name, what in (("megatron_config", "a Python module"), ("adapters", "other adapters")):
        if options.get(name):
            raise ModelError(f"{folder / ADAPTER_CONFIG} brings in {what} by {name}: not allowed")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        ModelError: the file is missing, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no object")
    return content


def _strings(value: Any) -> Iterator[str]:
    """Every text in a nested value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
