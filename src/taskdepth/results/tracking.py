"""The life of a W&B run: where it goes, who it belongs to, and that it ends."""

from __future__ import annotations

import json
import netrc
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from taskdepth import sweep
from taskdepth.config import LoggerConfig
from taskdepth.errors import ResultsError
from taskdepth.files import write_json
from taskdepth.terminal import shown

IDS = "wandb.json"  # beside the results: an interrupted command goes on in its own W&B runs

FINDINGS = "findings"  # the stage that sums a study up

# charts nobody asked for: single tasks and lesser scores are kept, but not drawn until a user does
HIDDEN = ("tasks/*", "more/*")


@dataclass(frozen=True, slots=True)
class Part:
    """Which model and stage of a study a run is about, `probe` of `experimental`. A command with one run has
    no `role`."""

    stage: str
    role: str | None = None

    @property
    def name(self) -> str:
        """As in the names of runs: `probe-experimental`."""
        return self.stage if self.role is None else f"{self.stage}-{self.role}"


def is_tracking(settings: LoggerConfig) -> bool:
    """Whether there will be runs at all."""
    return settings.enabled and wandb_mode(settings.mode) != "disabled"


@contextmanager
def tracked(
    settings: LoggerConfig,
    folder: Path,
    *,
    part: Part,
    name: str,
    config: Mapping[str, Any],
    suffixed: bool = False,
) -> Iterator[Any]:
    """A W&B run in `folder/wandb`, or None when logging is off; always finished at the end.

    Without `finish` the next job of a sweep would go on writing into this run. `name` is the study's for
    a command with several runs (`suffixed`): each adds its part to name and id. Runs are grouped by
    `logger.group`, else by sweep, else by study.
    """
    if not is_tracking(settings):
        yield None
        return
    if os.environ.get("WANDB_SWEEP_ID") and suffixed and part.stage != FINDINGS:
        yield None  # an agent of `wandb sweep` has one run for the whole command
        return
    run = _begun(settings, folder, part, name, config, suffixed)
    exit_code = 1
    try:
        yield run
        exit_code = 0
    finally:
        run.finish(exit_code=exit_code)


def _begun(
    settings: LoggerConfig,
    folder: Path,
    part: Part,
    name: str,
    config: Mapping[str, Any],
    suffixed: bool,
) -> Any:
    mode = wandb_mode(settings.mode)
    job = _sweep_job()
    study = settings.group or (job.sweep if job else name)
    about = {"study": study, "stage": part.stage}
    about |= {"role": part.role} if part.role else {}
    about |= {"sweep": job.sweep, "sweep_job": job.number} if job else {}
    base = _base_id(settings, folder)
    run = wandb.init(
        project=settings.project,
        entity=settings.entity,
        group=study,
        tags=[*settings.tags, part.stage, *([part.role] if part.role else [])],
        notes=settings.notes,
        name=f"{name}/{part.name}" if suffixed else name,
        id=f"{base}-{part.name}" if suffixed else base,
        resume="allow" if mode == "online" else None,  # offline has nobody to ask
        job_type=part.stage,
        dir=str(folder),
        mode=mode,
        config={**config, **about},
        settings=wandb.Settings(silent=True, console="off"),
    )
    for names in HIDDEN:
        run.define_metric(names, hidden=True)
    return run


@dataclass(frozen=True, slots=True)
class _Job:
    sweep: str
    number: str


def _sweep_job() -> _Job | None:
    """The sweep that this process works for, and the number of the job."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    job = HydraConfig.get().job
    return _Job(sweep.current(), str(job.num))


def _base_id(settings: LoggerConfig, folder: Path) -> str:
    """`logger.id`, or that of the interrupted command that this one goes on with, or a new one.

    Raises:
        ResultsError: the folder's runs have another id than the one that is asked for.
    """
    path = folder / IDS
    if path.is_file():
        known = str(json.loads(path.read_text(encoding="utf-8"))["id"])
        if settings.id not in (None, known):
            raise ResultsError(
                f"{folder} belongs to the W&B runs {known}, not to logger.id={settings.id}"
            )
        return known
    base = settings.id or secrets.token_hex(4)
    write_json(path, {"id": base, "project": settings.project, "entity": settings.entity})
    return base


def wandb_mode(mode: str) -> Any:
    """`auto` as what it comes to: WANDB_MODE if set, online for a logged-in user, else offline."""
    if mode != "auto":
        return mode
    return os.environ.get("WANDB_MODE") or ("online" if is_logged_in() else "offline")


def is_logged_in() -> bool:
    """Has the user given W&B a key, by environment, settings or netrc? Asks nobody and nothing."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    settings = wandb.setup().settings
    if settings.api_key:
        return True
    try:
        accounts = netrc.netrc()
    except (FileNotFoundError, netrc.NetrcParseError):
        return False
    # keys saved before W&B moved house are under its old name, and W&B still takes them
    hosts = (urlsplit(settings.base_url).hostname, "api.wandb.ai")
    return any(accounts.authenticators(host) for host in hosts if host)


def log_pictures(run: Any, pictures: Mapping[str, Path]) -> None:
    """The figures, as pictures."""
    run.log({f"figures/{name}": wandb.Image(str(path)) for name, path in pictures.items()})


def slug(name: str) -> str:
    """`name` with only those characters that W&B takes in the name of an artifact.

    >>> slug("my org/Llama 2 (7b)")
    'my-org-Llama-2-7b'
    """
    return re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-")[:100]


def where(settings: LoggerConfig, folder: Path) -> str:
    """Where a command's runs are, in a phrase."""
    if wandb_mode(settings.mode) == "offline":
        return f"offline: wandb sync {shown(folder)}/wandb/offline-run-*"
    base = wandb.setup().settings.app_url.rstrip("/")
    return f"{base}/{settings.entity or '<you>'}/{settings.project}"
