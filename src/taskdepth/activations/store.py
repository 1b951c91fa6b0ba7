"""`ActivationStore`: extracted states on disk, found again by what produced them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taskdepth.activations.manifest import Manifest
from taskdepth.activations.precision import DTYPES
from taskdepth.activations.recording import UNFINISHED, Recording, clean
from taskdepth.activations.stored import Activations, StatesOfPoolings, StoredActivations
from taskdepth.errors import ConfigError

SHARD_ROWS = 1024  # 33 depths × 1024 rows × 4096 dimensions × 4 bytes = 550 MB


class ActivationStore:
    """One folder per key: shards `shard-00000.safetensors` …, and `manifest.json` when all are there.

    A key is a hash of everything that decides the values (`key_of`), so a changed model or prompt is
    never mistaken for the old one. `dtype` is how states are kept: float32, or float16 or bfloat16
    after centring. Reading gives float32.
    """

    def __init__(self, root: Path, *, dtype: str = "float32", shard_rows: int = SHARD_ROWS) -> None:
        if dtype not in DTYPES:
            raise ConfigError(f"states are stored as {', '.join(DTYPES)}, not as {dtype}")
        if shard_rows < 1:
            raise ConfigError(f"a shard holds at least one row, not {shard_rows}")
        self._root = root
        self._dtype = dtype
        self.shard_rows = shard_rows

    def __contains__(self, key: str) -> bool:
        """Whether all shards are there, judged by their sizes."""
        manifest = self.manifest(key)
        return manifest is not None and not any(
            record.problem(self._folder(key), checksum=False) for record in manifest.shards
        )

    def manifest(self, key: str) -> Manifest | None:
        """What is kept under `key`; None where nothing is, or nothing that can be read."""
        try:
            return Manifest.read(self._folder(key))
        except (FileNotFoundError, ValueError):
            return None

    def tidy(self, key: str) -> None:
        """Remove what a process that was killed as it finished has left beside a manifest."""
        folder = self._folder(key)
        if (folder / UNFINISHED).is_file() and (manifest := self.manifest(key)) is not None:
            clean(folder, [record.name for record in manifest.shards])

    def record(
        self,
        key: str,
        example_ids: Sequence[str],
        about: Mapping[str, Any],
        depths: Sequence[int] | None = None,
    ) -> Recording:
        """Begin to keep states under `key`, or go on; `about` is for people who look into the manifest.

        `depths` names those that are written, all of 0..L by default.
        """
        return Recording(
            self._folder(key),
            example_ids,
            about,
            depths=depths,
            dtype=self._dtype,
            shard_rows=self.shard_rows,
        )

    def open(self, key: str) -> StoredActivations:
        """What was recorded, to be read in parts.

        Raises:
            ResultsError: there is nothing under `key`, or it is damaged (the message names the file).
        """
        return StoredActivations(self._folder(key))

    def read(self, key: str) -> Activations:
        """What was recorded, each pooling read when it is looked up; raises as `open` does."""
        stored = self.open(key)
        return Activations(stored.example_ids, StatesOfPoolings(stored))

    def _folder(self, key: str) -> Path:
        return self._root / key[:2] / key
