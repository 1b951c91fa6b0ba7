"""`python -m taskdepth.report wandb --runs A B …`: a W&B Report of runs, side by side."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

from rich.console import Console

from taskdepth.errors import ConfigError, ResultsError
from taskdepth.files import write_text
from taskdepth.report.wandb_runs import Runs, read_runs
from taskdepth.results import tracking

TITLE = "At what depth the tasks live"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs",
        nargs="+",
        type=Path,
        required=True,
        metavar="RUN",
        help="folders of finished runs",
    )
    parser.add_argument("--title", default=TITLE)
    parser.add_argument("--project", help="W&B project (default: that of the first run)")
    parser.add_argument("--entity", help="W&B team or user (default: yours)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("wandb_report.json"),
        metavar="FILE",
        help="where the report's JSON goes (default: ./wandb_report.json)",
    )
    parser.add_argument(
        "--draft", action="store_true", help="publish it for your own eyes only, until you save it"
    )


def main(arguments: argparse.Namespace) -> None:
    """Write the report's JSON; publish it too where there is an account.

    Raises:
        ConfigError: wandb-workspaces is not installed.
        ResultsError: a folder holds no finished run, or the runs are not of one W&B project.
    """
    check_installed()
    runs = read_runs(arguments.runs)
    project = arguments.project or _same(runs, "project")
    entity = arguments.entity or _same(runs, "entity")
    online = tracking.wandb_mode("auto") == "online"
    report = build(runs, project, entity or ("" if not online else None), arguments.title)
    write_text(arguments.out, to_json(report))
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"report: {arguments.out} ({len(report.blocks)} blocks)", markup=False)
    if online:
        report.save(draft=arguments.draft)
        console.print(f"W&B: {report.url}", markup=False)
        return
    console.print("It is not in W&B yet, for want of an account or a connection. To publish it:")
    console.print("  wandb login")
    for run in runs.all():
        if any((run.folder / "wandb").glob("offline-run-*")):
            console.print(f"  wandb sync {run.folder}/wandb/offline-run-*", markup=False)
    console.print("  and then this command once more (without WANDB_MODE=offline)")


def build(
    runs: Runs,
    project: str,
    entity: str | None,
    title: str,
) -> Any:
    """The report as wandb-workspaces' own object; `entity=None` asks W&B who you are."""
    from wandb_workspaces.reports import v2 as wr

    from taskdepth.report.wandb_blocks import blocks

    where = {} if entity is None else {"entity": entity}
    lines = runs.studies[0].findings.lines[:1] if runs.studies else ()
    return wr.Report(
        project=project,
        title=title[:128],
        description=" ".join(lines),
        blocks=blocks(runs),
        width="fluid",
        **where,
    )


def to_json(report: Any) -> str:
    """The report as W&B's server keeps it."""
    return (
        str(report._to_model().model_dump_json(by_alias=True, exclude_none=True, indent=2)) + "\n"
    )


def check_installed() -> None:
    """Refuse to go on without the library that W&B Reports are made with.

    Raises:
        ConfigError: wandb-workspaces is not installed.
    """
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise ConfigError(
            "a W&B Report needs wandb-workspaces: pip install -e '.[wandb-report]' "
            "(or pip install wandb-workspaces)"
        )


def _same(runs: Runs, name: str) -> Any:
    """The W&B project or entity that all runs share."""
    found = {run.settings["logger"][name] for run in runs.all()}
    if len(found) > 1:
        raise ResultsError(
            f"the runs are of several W&B {name} settings ({', '.join(map(str, sorted(found, key=str)))}): "
            f"--{name}=<one of them>"
        )
    return found.pop()
