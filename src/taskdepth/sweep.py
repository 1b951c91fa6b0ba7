"""What the jobs of a sweep came to: noted by each in one file, shown as a table at the end.

Jobs may be other processes, on other machines, and end in any order; each appends one line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from taskdepth import config

NAME = "TASKDEPTH_SWEEP"  # in the environment, which jobs in other processes inherit


@dataclass(frozen=True, slots=True)
class Job:
    """One job: its overrides, and what came of it. `found`: it had been done before; `quiet`: it was
    told not to talk to people."""

    number: int
    overrides: tuple[str, ...]
    run_dir: str = ""
    objective: float | None = None
    found: bool = False
    error: str = ""
    quiet: bool = False


@contextmanager
def named() -> Iterator[str]:
    """Inside, this process and those that it starts know the name of a sweep, should there be one."""
    name = f"sweep-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
    os.environ[NAME] = name
    try:
        yield name
    finally:
        del os.environ[NAME]


def current() -> str:
    """The name of the sweep that this process works for."""
    return os.environ.get(NAME, "sweep")


def notes_of(sweep: str) -> Path:
    root = Path(os.environ.get("TASKDEPTH_ROOT") or config.root_dir())
    return root / "outputs" / "multirun" / f"{sweep}.jsonl"


def note(sweep: str, job: Job) -> None:
    """Append the line of one job."""
    path = notes_of(sweep)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(asdict(job), ensure_ascii=False) + "\n"
    # one write of a short line: appends of several processes do not mix
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def jobs_of(sweep: str) -> list[Job]:
    """The jobs that have ended, by their numbers; empty where there was no sweep."""
    path = notes_of(sweep)
    if not path.is_file():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    jobs = [Job(**{**line, "overrides": tuple(line["overrides"])}) for line in lines]
    return sorted(jobs, key=lambda job: job.number)


def table(jobs: Sequence[Job]) -> Table:
    """A line a job: what differs between the jobs, and what each came to."""
    settings = [dict(o.partition("=")[::2] for o in job.overrides) for job in jobs]
    keys = dict.fromkeys(key for found in settings for key in found)
    swept = [key for key in keys if len({found.get(key) for found in settings}) > 1]
    shown = Table(title=f"{len(jobs)} jobs", title_justify="left", box=None, pad_edge=False)
    shown.add_column("job", justify="right")
    for key in swept:
        shown.add_column(Text(key), overflow="fold")
    shown.add_column("objective", justify="right")
    shown.add_column("run", overflow="fold", style="dim")
    for job, found in zip(jobs, settings, strict=True):
        outcome = Text(job.error, style="red") if job.error else Text(Path(job.run_dir).name)
        if job.found:
            outcome.append(" (done before)")
        objective = "–" if job.objective is None else f"{job.objective:.4f}"
        values = [Text(found.get(key, "")) for key in swept]
        shown.add_row(str(job.number), *values, objective, outcome)
    return shown


def tell(sweep: str, console: Console) -> None:
    """Print the table of a sweep, if there was one and it is to be seen."""
    jobs = jobs_of(sweep)
    if not all(job.quiet for job in jobs):
        console.print()
        console.print(table(jobs), soft_wrap=False)
        console.print(f"kept in {notes_of(sweep)}", style="dim", markup=False)
