"""Read results in the terminal: `python -m taskdepth.results findings RUN`, `placement RUN`, `table RUN …`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from taskdepth.errors import ResultsError, TaskdepthError
from taskdepth.results import placement_table, summary


def findings(run: Path) -> None:
    """Print where the report of a probe.py run is, and what was found.

    Raises:
        ResultsError: the run has no findings.
    """
    path = run / "findings.json"
    if not path.is_file():
        raise ResultsError(f"{run} holds no findings: run probe.py with the report stage")
    console = Console(highlight=False)
    console.print(f"\n[bold]report:[/bold] {run / 'report.html'}", soft_wrap=True)
    for line in json.loads(path.read_text(encoding="utf-8"))["lines"]:
        console.print("  •", line, markup=False)


def placement(run: Path, *, as_markdown: bool = False) -> None:
    """Print the table of a placement study.

    Raises:
        ResultsError: the run has none.
    """
    found = placement_table.read(run)
    if as_markdown:
        print(placement_table.markdown(found))
        return
    console = Console(highlight=False)
    console.print(placement_table.rich_table(found))
    console.print(found["verdict"], markup=False)


def table(patterns: list[str], *, as_csv: bool) -> None:
    """Print a line for each run and model.

    Raises:
        ResultsError: a pattern names no layer table.
    """
    found = summary.lines(summary.find(patterns))
    if as_csv:
        print(summary.to_csv(found), end="")
    else:
        Console(highlight=False).print(summary.table(found))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m taskdepth.results", description=__doc__)
    commands = parser.add_subparsers(required=True)
    of_run = commands.add_parser("findings", help="what a probe.py run found, in plain words")
    of_run.add_argument("run", type=Path, help="its folder")
    of_run.set_defaults(command=lambda arguments: findings(arguments.run))
    of_study = commands.add_parser("placement", help="what a placement study of train.py found")
    of_study.add_argument("run", type=Path, help="its folder")
    of_study.add_argument("--markdown", action="store_true", help="all of it, as Markdown")
    of_study.set_defaults(
        command=lambda arguments: placement(arguments.run, as_markdown=arguments.markdown)
    )
    of_runs = commands.add_parser("table", help="runs of probe.py side by side, a line each")
    of_runs.add_argument(
        "runs", nargs="+", help="folders, or patterns like 'outputs/**/layers.parquet'"
    )
    of_runs.add_argument("--csv", action="store_true", help="for machines")
    of_runs.set_defaults(command=lambda a: table(a.runs, as_csv=a.csv))
    arguments = parser.parse_args()
    try:
        arguments.command(arguments)
    except TaskdepthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
