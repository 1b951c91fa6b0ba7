"""W&B: one run per command, per-layer curves against `layer`, and the findings as artifacts."""

from __future__ import annotations

import math
import netrc
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, fields
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import wandb
from rich.console import Console

from taskdepth.config import LoggerConfig
from taskdepth.results.table import LayerTable, Row


@contextmanager
def tracked(
    settings: LoggerConfig, folder: Path, *, job_type: str, name: str, config: Mapping[str, Any]
) -> Iterator[Any]:
    """A W&B run in `folder/wandb`, or None when logging is off; always finished at the end.

    Without `finish` the next job of a sweep would go on writing into this run.
    """
    if not settings.enabled or wandb_mode(settings.mode) == "disabled":
        yield None
        return
    run = wandb.init(
        project=settings.project,
        entity=settings.entity,
        group=settings.group,
        tags=settings.tags,
        notes=settings.notes,
        name=name,
        job_type=job_type,
        dir=str(folder),
        mode=wandb_mode(settings.mode),
        config=dict(config),
        settings=wandb.Settings(silent=True, console="off"),
    )
    exit_code = 1
    try:
        yield run
        exit_code = 0
    finally:
        run.finish(exit_code=exit_code)


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


def log_layers(run: Any, table: LayerTable) -> None:
    """Every value of `table` as a curve against `layer`, and all rows as one table.

    `probe/<role>/<target>/<name>` and `similarity/<role>_vs_<reference>/<name>` are medians over tasks;
    the same with `/task/<task>` appended are single tasks. Undefined values are left out of the curves.
    """
    run.define_metric("layer", hidden=True)
    for section in ("probe", "similarity", "geometry"):
        run.define_metric(f"{section}/*", step_metric="layer")
    for layer, values in sorted(layer_series(table).items()):
        run.log({"layer": layer, **values})
    columns = [field.name for field in fields(Row)]
    run.log({"layers": wandb.Table(columns=columns, data=[list(astuple(row)) for row in table])})


def layer_series(table: LayerTable) -> dict[int, dict[str, float]]:
    """What `log_layers` plots: layer → metric key → value."""
    series: dict[int, dict[str, float]] = defaultdict(dict)
    by_task: dict[tuple[int, str], list[float]] = defaultdict(list)
    for row in table:
        if math.isnan(row.value):
            continue
        key = _key(row)
        if row.task != "all":
            series[row.depth][f"{key}/task/{row.task}"] = row.value
            by_task[row.depth, key].append(row.value)
        elif row.cluster != "all":
            series[row.depth][f"{key}/cluster/{row.cluster}"] = row.value
        else:
            series[row.depth][key] = row.value
    for (depth, key), values in by_task.items():
        series[depth].setdefault(key, median(values))
    return dict(series)


def _key(row: Row) -> str:
    about = row.target if row.reference is None else f"vs_{row.reference}"
    return "/".join(part for part in (row.kind, row.role, about, row.name) if part)


def log_pictures(run: Any, pictures: Mapping[str, Path]) -> None:
    """The figures, as pictures."""
    run.log({f"figures/{name}": wandb.Image(str(path)) for name, path in pictures.items()})


def log_artifact(
    run: Any, name: str, kind: str, files: list[Path], about: Mapping[str, Any]
) -> None:
    """Files and folders as one versioned artifact."""
    artifact = wandb.Artifact(name, type=kind, metadata=dict(about))
    for path in files:
        if path.is_dir():
            artifact.add_dir(str(path), name=path.name)
        elif path.exists():
            artifact.add_file(str(path))
    run.log_artifact(artifact)


def say_where(run: Any, console: Console) -> None:
    """One line: where the W&B run is."""
    if run is None:
        return
    folder = Path(run.dir).parent
    where = f"{folder} (offline; wandb sync sends it)" if run.offline else run.url
    console.print(f"W&B: {where}", soft_wrap=True, highlight=False)
