"""`TaskMaps`: how alike the tasks are to each other at every depth, and the file that holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from taskdepth.errors import ResultsError
from taskdepth.files import replacing

SCHEMA_VERSION = "1"
MEASURES = {
    "centroid_cosine": "where the prompts lie",
    "covariance_cosine": "along what they differ",
}


@dataclass(frozen=True, slots=True, eq=False)
class TaskMaps:
    """Task × task similarities: `values[measure][i, j]` are those of `roles[i]` at `depths[j]`.

    `clusters[t]` is the cluster of `tasks[t]`; the tasks of a cluster stand together. Every task has
    `n` rows. NaN is undefined. `taskdepth.similarity.tasks` says what the measures are.
    """

    roles: tuple[str, ...]
    depths: tuple[int, ...]
    tasks: tuple[str, ...]
    clusters: tuple[str, ...]
    pooling: str
    n: int
    values: Mapping[str, Float[Tensor, "roles depths tasks tasks"]]

    def at(self, measure: str, role: str, depth: int) -> Float[Tensor, "tasks tasks"]:
        """One map.

        Raises:
            ResultsError: there is none.
        """
        if measure not in self.values or role not in self.roles or depth not in self.depths:
            raise ResultsError(f"no task × task map of {measure}, {role}, depth {depth}")
        return self.values[measure][self.roles.index(role), self.depths.index(depth)]

    def write(self, path: Path) -> None:
        """Write to `path` in one step, as safetensors of float32."""
        about = {
            name: json.dumps(getattr(self, name), ensure_ascii=False)
            for name in ("roles", "depths", "tasks", "clusters", "pooling", "n")
        }
        metadata = {"taskdepth.task_maps.schema": SCHEMA_VERSION, **about}
        tensors = {name: maps.to(torch.float32).contiguous() for name, maps in self.values.items()}
        with replacing(path) as partial:
            save_file(tensors, partial, metadata=metadata)

    @classmethod
    def read(cls, path: Path) -> TaskMaps:
        """Read what `write` wrote.

        Raises:
            ResultsError: no such file, not safetensors, or another version of its content.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError:
            raise ResultsError(
                f"no task × task maps at {path}: run probe.py report=paper_figures first"
            ) from None
        except SafetensorError as error:
            raise ResultsError(f"{path} is not a readable safetensors file: {error}") from None
        version = metadata.get("taskdepth.task_maps.schema", "none")
        if version != SCHEMA_VERSION:
            raise ResultsError(
                f"{path} has task-map schema {version}; this version reads {SCHEMA_VERSION}"
            )
        return cls(
            tuple(json.loads(metadata["roles"])),
            tuple(json.loads(metadata["depths"])),
            tuple(json.loads(metadata["tasks"])),
            tuple(json.loads(metadata["clusters"])),
            json.loads(metadata["pooling"]),
            json.loads(metadata["n"]),
            values,
        )
