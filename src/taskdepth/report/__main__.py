"""Make reports of finished runs of probe.py: `python -m taskdepth.report html RUN [RUN ...]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from taskdepth.errors import TaskdepthError
from taskdepth.report.page import write_page
from taskdepth.report.study import read_studies

COMPARED = "comparison.html"


def html(arguments: argparse.Namespace) -> None:
    """One page about one run, or about several side by side."""
    runs: list[Path] = arguments.runs
    name = "report.html" if len(runs) == 1 else COMPARED
    out: Path = arguments.out or (runs[0] if len(runs) == 1 else Path()) / name
    write_page(out, read_studies(runs), arguments.title)
    size_mb = out.stat().st_size / 1e6
    Console(highlight=False).print(f"report: {out} ({size_mb:.1f} MB)", soft_wrap=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m taskdepth.report", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="html")
    page = commands.add_parser("html", help="one self-contained page, of one run or of several")
    page.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a probe.py run")
    page.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=f"where to write it (RUN/report.html; for several runs ./{COMPARED})",
    )
    page.add_argument("--title", default="At what depth the tasks live")
    page.set_defaults(command=html)
    arguments = parser.parse_args()
    try:
        arguments.command(arguments)
    except TaskdepthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
