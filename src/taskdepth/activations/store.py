"""`ActivationStore`: extracted states on disk, found again by what produced them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from taskdepth.activations.pooling import Pooling
from taskdepth.errors import ResultsError
from taskdepth.files import replacing, write_json

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Activations:
    """Pooled states of some rows of one task: `states[pooling]` is `[n_depths, n, d_model]`, float32."""

    example_ids: tuple[str, ...]
    states: Mapping[Pooling, Float[Tensor, "n_depths n d_model"]]


class ActivationStore:
    """One folder per key: `activations.safetensors`, then `manifest.json`, which marks it as whole.

    A key is a hash of everything that decides the values (weights, tokens, pooling, dtype, norm), so a
    changed model or prompt is never mistaken for the old one.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def __contains__(self, key: str) -> bool:
        return (self._folder(key) / "manifest.json").is_file()

    def write(self, key: str, activations: Activations, about: Mapping[str, Any]) -> None:
        """Keep `activations` under `key`; `about` is for people who look into the manifest."""
        folder = self._folder(key)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "activations.safetensors") as partial:
            tensors = {str(p): t.contiguous() for p, t in activations.states.items()}
            save_file(tensors, partial)
        manifest = {
            "format": FORMAT_VERSION,
            **about,
            "poolings": [str(pooling) for pooling in activations.states],
            "example_ids": list(activations.example_ids),
        }
        write_json(folder / "manifest.json", manifest)

    def read(self, key: str) -> Activations:
        """What `write` kept.

        Raises:
            ResultsError: there is nothing under `key`, or it is damaged (the message names the folder).
        """
        folder = self._folder(key)
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            tensors = load_file(folder / "activations.safetensors")
            states = {Pooling(name): tensors[name] for name in manifest["poolings"]}
            ids = tuple(manifest["example_ids"])
        except FileNotFoundError:
            raise ResultsError(f"no activations in {folder}: run the extract stage first") from None
        except (ValueError, KeyError, SafetensorError) as error:
            raise ResultsError(
                f"{folder} is damaged ({error}): remove it and extract again"
            ) from None
        if any(states[pooling].shape[1] != len(ids) for pooling in states):
            raise ResultsError(
                f"{folder} is damaged (rows do not match): remove it and extract again"
            )
        return Activations(ids, states)

    def _folder(self, key: str) -> Path:
        return self._root / key[:2] / key


def key_of(
    model_hash: str,
    example_ids: Sequence[str],
    prompts: Sequence[Sequence[int]],
    *,
    poolings: Sequence[Pooling],
    dtype: str,
    final_norm: str,
) -> str:
    """The key under which these states are kept; batch size and padding do not matter."""
    content = {
        "format": FORMAT_VERSION,
        "model": model_hash,
        "example_ids": list(example_ids),
        "prompts": [list(prompt) for prompt in prompts],
        "poolings": sorted(str(pooling) for pooling in poolings),
        "dtype": dtype,
        "final_norm": final_norm,
    }
    text = json.dumps(content, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def hash_of_files(*folders: Path) -> str:
    """A hash of weights and configs by content: safetensors and JSON files, by name."""
    digest = hashlib.blake2b(digest_size=16)
    for folder in folders:
        for path in sorted(
            path
            for pattern in ("*.safetensors", "*config.json", "tasks.json")
            for path in folder.glob(pattern)
        ):
            digest.update(path.name.encode())
            with path.open("rb") as handle:
                while chunk := handle.read(1 << 22):
                    digest.update(chunk)
    return digest.hexdigest()
