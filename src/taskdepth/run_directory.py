"""The folder of one run: opened once, never written over by accident, resumed when it was interrupted."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from omegaconf import OmegaConf

from taskdepth import config as schemas
from taskdepth import lock, ranks
from taskdepth.credentials import masked
from taskdepth.errors import ResultsError
from taskdepth.files import remove_partials, write_json, write_text

RECORDED_PACKAGES = (
    *("taskdepth", "torch", "lightning", "transformers", "tokenizers", "peft"),
    *("hydra-core", "wandb", "torchmetrics", "numpy", "pyarrow"),
)


FIRST_FILES = (
    "config.yaml",
    "provenance.json",
    "wandb",
    "wandb.json",
)  # of a run that got no further


@contextmanager
def opened(
    path: Path,
    config: schemas.TrainConfig | schemas.ProbeConfig,
    finished_by: str,
    *,
    reopen: bool = False,
    revisions: Mapping[str, str | None] = MappingProxyType({}),
) -> Iterator[RunDirectory]:
    """The run folder, which no other run writes to until the end; raises as `RunDirectory` does."""
    with ExitStack() as held:

        def begin() -> None:
            held.enter_context(lock.held(path))
            remove_partials(path)
            RunDirectory.begin(path, config, finished_by, reopen=reopen, revisions=revisions)

        ranks.first_does(begin)  # it holds the folder for all
        yield RunDirectory(path, finished_by)


class RunDirectory:
    """`provenance.json` and `config.yaml` come first, `finished_by` last: it marks a complete run.

    The same settings find the same folder and go on where they stopped. Other settings, or a complete
    run, are refused unless `overwrite` is set.
    """

    def __init__(self, path: Path, finished_by: str) -> None:
        self.path = path
        self._finished_by = finished_by

    @classmethod
    def begin(
        cls,
        path: Path,
        config: schemas.TrainConfig | schemas.ProbeConfig,
        finished_by: str,
        *,
        reopen: bool = False,
        revisions: Mapping[str, str | None] = MappingProxyType({}),
    ) -> RunDirectory:
        """Write what every run begins with.

        Raises:
            ResultsError: the folder holds something that must not be lost.
        """
        directory = cls(path, finished_by)
        if config.overwrite and directory._is_run():
            directory._clear()
        directory._refuse(config, reopen)
        path.mkdir(parents=True, exist_ok=True)
        # first: it tells whose folder it is
        write_json(path / "provenance.json", provenance(config, revisions))
        write_text(path / "config.yaml", OmegaConf.to_yaml(OmegaConf.structured(config)))
        return directory

    def _content(self) -> list[Path]:
        return [path for path in self.path.iterdir() if path.name != lock.NAME]

    def _clear(self) -> None:
        """Remove what marks a run as complete first, and as ours last: this may be interrupted."""
        order = {self._finished_by: 0, "provenance.json": 2}
        for path in sorted(self._content(), key=lambda path: order.get(path.name, 1)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    @staticmethod
    def is_finished(
        path: Path, config: schemas.TrainConfig | schemas.ProbeConfig, finished_by: str
    ) -> bool:
        """Whether `path` holds the results of exactly these settings."""
        try:
            about = json.loads((path / "provenance.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False
        same = about["config_fingerprint"] == schemas.fingerprint(asdict(config))
        return same and (path / finished_by).is_file()

    def _is_run(self) -> bool:
        return (self.path / "provenance.json").is_file()

    def _refuse(self, config: schemas.TrainConfig | schemas.ProbeConfig, reopen: bool) -> None:
        if not self.path.exists() or not self._content():
            return
        if not self._is_run():
            raise ResultsError(
                f"{self.path} holds files that no run of taskdepth wrote: choose another name=…"
            )
        same = self.read("provenance.json")["config_fingerprint"] == schemas.fingerprint(
            asdict(config)
        )
        if not same and any(path.name not in FIRST_FILES for path in self._content()):
            raise ResultsError(
                f"{self.path} holds a run with other settings: "
                "name=<another> keeps it, overwrite=true removes it"
            )
        if (self.path / self._finished_by).is_file() and not reopen:
            raise ResultsError(
                f"{self.path} already holds the results of these settings: "
                "read them, or name=<another>, or overwrite=true"
            )

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def read(self, name: str) -> Any:
        return json.loads((self.path / name).read_text(encoding="utf-8"))

    def finish(self, content: Mapping[str, Any]) -> None:
        """Write the file that marks the run as complete."""
        write_json(self.path / self._finished_by, content)


def provenance(
    config: schemas.TrainConfig | schemas.ProbeConfig,
    revisions: Mapping[str, str | None] = MappingProxyType({}),
) -> dict[str, Any]:
    """What is needed to repeat the run: command, settings, versions, commit.

    `revisions`: model → its commit on the hub, None for a folder.
    """
    return {
        "command": [Path(sys.argv[0]).name, *map(masked, sys.argv[1:])],
        "config_fingerprint": schemas.fingerprint(asdict(config)),
        "seed": config.seed,
        "model_revisions": dict(revisions),
        "git": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in RECORDED_PACKAGES},
    }


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names.

    >>> flat({"seed": 1, "optimizer": {"lr": 0.1}})
    {'seed': 1, 'optimizer.lr': 0.1}
    """
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of this checkout, `-dirty` when it was changed; None for an installed package."""
    if not (schemas.root_dir() / ".git").exists():
        return None
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=schemas.root_dir(),
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
