"""What works here and what does not: `python -m taskdepth.doctor [--json]`.

Exit code 1 where something is missing that every command needs; what only some need is a note.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table
from rich.text import Text

from taskdepth import __version__, config

TIMEOUT_S = 3.0
EXTRAS = {
    "bench": "python -m taskdepth.bench training",
    "wandb-report": "python -m taskdepth.report wandb",
    "sweeps": "hydra/launcher=joblib or submitit_slurm, hydra/sweeper=optuna",
}


class State(StrEnum):
    OK = "ok"
    NOTE = "note"  # something will not work, most will
    MISSING = "missing"  # nothing will


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `advice`: what to do about it."""

    section: str
    name: str
    state: State
    found: str
    advice: str = ""


def examine() -> list[Check]:
    """Look at everything; takes seconds, most of them for torch and the network."""
    looks: tuple[Callable[[], Iterator[Check]], ...] = (
        _packages,
        _extras,
        _devices,
        _room,
        _services,
    )
    return [check for look in looks for check in look()]


def _packages() -> Iterator[Check]:
    yield Check(
        "packages", "taskdepth", State.OK, f"{__version__} on Python {platform.python_version()}"
    )
    for requirement in _requirements():
        if requirement.marker is None:
            yield _package(requirement, State.MISSING, f"pip install '{_pip_name(requirement)}'")


def _extras() -> Iterator[Check]:
    for extra, purpose in EXTRAS.items():
        for requirement in _requirements():
            if requirement.marker is not None and requirement.marker.evaluate({"extra": extra}):
                advice = f"for {purpose}: pip install -e '.[{extra}]'"
                yield _package(requirement, State.NOTE, advice, section="extras")


def _requirements() -> list[Requirement]:
    """What the package asks for, as installed, or as its checkout says."""
    try:
        listed = metadata.requires("taskdepth") or []
    except metadata.PackageNotFoundError:
        path = config.root_dir() / "pyproject.toml"
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        listed = list(project["dependencies"])
        for extra, lines in project["optional-dependencies"].items():
            listed += [f"{line}; extra == '{extra}'" for line in lines]
    return [Requirement(line) for line in listed]


def _package(
    requirement: Requirement, state: State, advice: str, section: str = "packages"
) -> Check:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Check(section, requirement.name, state, "not installed", advice)
    if not requirement.specifier.contains(version, prereleases=True):
        wanted = f"{version}, which is not {requirement.specifier}"
        return Check(section, requirement.name, state, wanted, advice)
    return Check(section, requirement.name, State.OK, version)


def _pip_name(requirement: Requirement) -> str:
    # a plain "torch" may bring gigabytes of GPU packages
    return (
        "torch==2.13.0"
        if requirement.name == "torch"
        else f"{requirement.name}{requirement.specifier}"
    )


def _devices() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Check("machine", "CPU", State.OK, f"{cores} cores, {platform.machine()}")
    try:
        import torch
    except ImportError as error:
        yield Check("machine", "GPU", State.MISSING, f"torch cannot be imported: {error}")
        return
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        found = f"{about.name}, {_gb(about.total_memory)}, {bf16}"
        yield Check("machine", f"GPU {index}", State.OK, found)
    if not torch.cuda.is_available():
        kind = "Apple's GPU (mps)" if torch.backends.mps.is_available() else "none that torch sees"
        advice = "models of more than a billion weights will be slow"
        yield Check("machine", "GPU", State.NOTE, kind, advice)


def _room() -> Iterator[Check]:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        yield Check("machine", "memory", State.OK, _gb(total))
    root = Path(os.environ.get("TASKDEPTH_ROOT") or config.root_dir())
    outputs = root / "outputs"
    nearest = next(path for path in (outputs, *outputs.parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        advice = "TASKDEPTH_ROOT=<a folder of yours>"
        yield Check("machine", "outputs", State.MISSING, f"{nearest} cannot be written to", advice)
        return
    free = shutil.disk_usage(nearest).free
    state = State.OK if free > 5e9 else State.NOTE
    advice = "" if free > 5e9 else "python -m taskdepth.activations ls and rm"
    yield Check("machine", "outputs", state, f"{outputs}, {_gb(free)} free", advice)


def _services() -> Iterator[Check]:
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        yield Check("services", "model hub", State.NOTE, "off", "HF_HUB_OFFLINE is set")
    else:
        advice = "models and data from folders work: model.path=<folder>, data.path=<folder>"
        yield _service("model hub", hub, advice)
    yield from _wandb()


def _wandb() -> Iterator[Check]:
    from taskdepth.results import tracking

    mode = tracking.wandb_mode("auto")
    if mode != "online":
        why = "WANDB_MODE" if os.environ.get("WANDB_MODE") else "no key"
        advice = "wandb login; runs are kept, and wandb sync sends them later"
        yield Check("services", "W&B", State.NOTE, f"{mode} ({why})", advice)
        return
    import wandb

    advice = "logger.mode=offline keeps runs, and wandb sync sends them later"
    yield _service("W&B", wandb.setup().settings.base_url, advice)


def _service(name: str, url: str, advice: str) -> Check:
    """Any answer counts: it is about the way there."""
    if urlsplit(url).scheme not in ("http", "https"):
        return Check("services", name, State.NOTE, f"{url} is no web address", advice)
    try:
        request = urllib.request.Request(url, method="HEAD")
        # the address is of the web, see above
        urllib.request.urlopen(request, timeout=TIMEOUT_S).close()  # nosec B310
    except urllib.error.HTTPError:
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        reason = "timed out" if isinstance(reason, (TimeoutError, socket.timeout)) else reason
        host = urlsplit(url).hostname or url
        return Check("services", name, State.NOTE, f"{host} cannot be reached ({reason})", advice)
    return Check("services", name, State.OK, f"{url} answers")


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:,.1f} GB"


MARKS = {State.OK: ("✓", "green"), State.NOTE: ("•", "yellow"), State.MISSING: ("✗", "red")}


def show(checks: list[Check], console: Console) -> None:
    """A line each, those that are well in short."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for column in range(3):
        table.add_column(no_wrap=column < 2)
    section = ""
    for check in checks:
        if check.section != section:
            section = check.section
            table.add_row("", Text(section, style="bold"))
        mark, colour = MARKS[check.state]
        text = Text(check.found)
        if check.advice:
            text.append(f"\n→ {check.advice}", style=colour)
        table.add_row(Text(mark, style=colour), Text(check.name), text)
    console.print(table)
    n_missing = sum(check.state is State.MISSING for check in checks)
    n_notes = sum(check.state is State.NOTE for check in checks)
    verdict = (
        f"{n_missing} missing: nothing will run before that is put right."
        if n_missing
        else f"Ready: make demo shows that it works ({n_notes} notes above)."
    )
    console.print(f"\n{verdict}", style="red" if n_missing else "green")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m taskdepth.doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="a list of objects, for machines")
    arguments = parser.parse_args()
    checks = examine()
    if arguments.json:
        print(json.dumps([asdict(check) for check in checks], ensure_ascii=False, indent=2))
    else:
        show(checks, Console(highlight=False))
    sys.exit(1 if any(check.state is State.MISSING for check in checks) else 0)


if __name__ == "__main__":
    main()
