"""Read results in the terminal: `python -m taskdepth.results findings RUN`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from taskdepth.errors import ResultsError, TaskdepthError


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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m taskdepth.results", description=__doc__)
    commands = parser.add_subparsers(required=True)
    of_run = commands.add_parser("findings", help="what a probe.py run found, in plain words")
    of_run.add_argument("run", type=Path, help="its folder")
    of_run.set_defaults(command=lambda arguments: findings(arguments.run))
    arguments = parser.parse_args()
    try:
        arguments.command(arguments)
    except TaskdepthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
