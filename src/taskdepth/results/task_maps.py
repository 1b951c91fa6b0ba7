"""`TaskMaps`: how alike the tasks are to each other at every depth, and the file that holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from taskdepth.errors import ResultsError, first_line
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
        except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
            raise ResultsError(
                f"{path} is not a readable safetensors file: {first_line(error)}"
            ) from None
        version = metadata.get("taskdepth.task_maps.schema", "none")
        if version != SCHEMA_VERSION:
            raise ResultsError(
                f"{path} has task-map schema {version}; this version reads {SCHEMA_VERSION}"
            )
        try:
            about = {name: json.loads(metadata[name]) for name in KINDS}
        except (KeyError, ValueError, RecursionError) as error:
            raise ResultsError(f"{path} is damaged: {error}") from None
        _check(about, values, path)
        lists = {name: tuple(about[name]) for name in ("roles", "depths", "tasks", "clusters")}
        return cls(**lists, pooling=about["pooling"], n=about["n"], values=values)


# what each entry beside the tensors is, and what the items of the lists are
KINDS: dict[str, tuple[type, type | None]] = {
    "roles": (list, str),
    "depths": (list, int),
    "tasks": (list, str),
    "clusters": (list, str),
    "pooling": (str, None),
    "n": (int, None),
}


def _check(about: Mapping[str, Any], values: Mapping[str, Tensor], path: Path) -> None:
    """Raise ResultsError unless entries are of their kinds and the maps of the size that they say."""
    for name, (kind, item) in KINDS.items():
        if type(about[name]) is not kind or (
            item and any(type(x) is not item for x in about[name])
        ):
            raise ResultsError(f"{path} is damaged: {name} is {about[name]!r}"[:300])
    n_tasks = len(about["tasks"])
    shape = (len(about["roles"]), len(about["depths"]), n_tasks, n_tasks)
    if len(about["clusters"]) != n_tasks or any(
        tensor.shape != shape or tensor.dtype != torch.float32 for tensor in values.values()
    ):
        raise ResultsError(f"{path} is damaged: its maps are not those of {shape}")
