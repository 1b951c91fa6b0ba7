"""What a run was made from, and what it made: data → model → activations → findings, as W&B artifacts.

An artifact's version is its content: whoever reads a model describes it as its maker did, and W&B finds
that it is the same version. So runs need not know each other, or be online at the same time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import wandb

from taskdepth.activations.key import hash_of_files
from taskdepth.results.tracking import slug

RowsRead = Mapping[str, Mapping[str, Mapping[str, Any]]]  # task → split → rows, digest


def data_artifact(name: str, rows: RowsRead, about: Mapping[str, Any]) -> wandb.Artifact:
    """The rows that a run has read, by number and digest; never their text."""
    return _described(f"data-{name}", "dataset", {"rows.json": {"tasks": rows}}, about)


def model_artifact(name: str, folder: Path) -> wandb.Artifact:
    """The files of an adapter; of a whole model the hash, as it is too large to send unasked."""
    if (folder / "adapter_config.json").is_file():
        return folder_artifact(name, "model", folder)
    content = {"hash": hash_of_files(folder)}
    return _described(name, "model", {"model.json": content}, {"folder": str(folder)})


def folder_artifact(name: str, kind: str, folder: Path) -> wandb.Artifact:
    """All files below `folder`."""
    artifact = wandb.Artifact(slug(name), type=kind, metadata={"folder": str(folder)})
    for path in sorted(folder.rglob("*")):  # add_dir would print a line for each folder
        if path.is_file():
            artifact.add_file(str(path), name=path.relative_to(folder.parent).as_posix())
    return artifact


def activations_artifact(
    study: str, manifests: Mapping[str, Mapping[str, Any]], about: Mapping[str, Any]
) -> wandb.Artifact:
    """The store's manifests, by key. The states stay where they are."""
    return _described(f"activations-{study}", "activations", {"manifests.json": manifests}, about)


def files_artifact(
    name: str, kind: str, files: Iterable[Path], about: Mapping[str, Any]
) -> wandb.Artifact:
    """Those of `files` that exist."""
    artifact = wandb.Artifact(slug(name), type=kind, metadata=dict(about))
    chosen = [path for path in files if path.is_file()]
    names = [path.name for path in chosen]
    for path in chosen:
        # files of one name are told apart by their folders
        inside = path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}"
        artifact.add_file(str(path), name=inside)
    return artifact


def use(run: Any, artifact: wandb.Artifact) -> None:
    """Note that `run` was made from `artifact`, which may be known to W&B already or not."""
    if run.offline:
        # use_artifact refuses to work offline; this is what it does online with an artifact that was
        # described here, and `wandb sync` then tells it to W&B
        run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
    else:
        run.use_artifact(artifact)


def _described(
    name: str, kind: str, files: Mapping[str, Any], about: Mapping[str, Any]
) -> wandb.Artifact:
    artifact = wandb.Artifact(slug(name), type=kind, metadata=dict(about))
    for file_name, content in files.items():
        with artifact.new_file(file_name, encoding="utf-8") as file:
            json.dump(content, file, indent=1, sort_keys=True)
    return artifact
