"""The key of a set of states: a hash of everything that decides their values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from taskdepth.activations.manifest import FORMAT_VERSION
from taskdepth.activations.pooling import Pooling

N_BYTES = 16


def key_of(
    model_hash: str,
    example_ids: Sequence[str],
    prompts: Sequence[Sequence[int]],
    *,
    poolings: Sequence[Pooling],
    dtype: str,
    final_norm: str,
    depths: Sequence[int] | None = None,
    stored_as: str = "float32",
) -> str:
    """The key under which these states are kept; batch size, padding and processes do not matter.

    `prompts` are token ids: what the tokenizer, its chat template, the prompt template and the cut at
    a maximal length made of the rows. So each of them counts exactly where it changes what the model
    reads. `dtype` is what the model computes in, `stored_as` what the store keeps; `depths=None` are
    all of them.
    """
    content = {
        "format": FORMAT_VERSION,
        "model": model_hash,
        "example_ids": list(example_ids),
        "prompts": [list(prompt) for prompt in prompts],
        "poolings": sorted(str(pooling) for pooling in poolings),
        "depths": None if depths is None else list(depths),
        "dtype": dtype,
        "stored_as": stored_as,
        "final_norm": final_norm,
    }
    text = json.dumps(content, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=N_BYTES).hexdigest()


def hash_of_files(*folders: Path) -> str:
    """A hash of weights and configs by name and content: of a base model, and of its adapter.

    Tokenizer files are left out: they act through the token ids only, which `key_of` hashes.
    """
    digest = hashlib.blake2b(digest_size=N_BYTES)
    for folder in folders:
        for path in sorted(
            path
            for pattern in ("*.safetensors", "*config.json", "tasks.json")
            for path in folder.glob(pattern)
        ):
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as handle:
                while chunk := handle.read(1 << 22):
                    digest.update(chunk)
    return digest.hexdigest()
