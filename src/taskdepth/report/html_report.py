"""`python -m taskdepth.report html RUN [RUN ...]`: one page about one run, or about several."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from taskdepth.report.page import TITLE, write_page
from taskdepth.report.study import read_studies

PAGE = "report.html"
COMPARISON = "comparison.html"  # in the working directory: it belongs to no run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folder of a probe.py run"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=f"where to write it (RUN/{PAGE}; of several runs ./{COMPARISON})",
    )
    parser.add_argument("--title", default=TITLE)


def main(arguments: argparse.Namespace) -> None:
    """Write the page and say where it is.

    Raises:
        ResultsError: a folder has no layer table, or a file in it cannot be read.
    """
    runs: list[Path] = arguments.runs
    out: Path = arguments.out or (Path(COMPARISON) if len(runs) > 1 else runs[0] / PAGE)
    write_page(out, read_studies(runs), arguments.title)
    size_mb = out.stat().st_size / 1e6
    Console(highlight=False).print(f"report: {out} ({size_mb:.1f} MB)", soft_wrap=True)
