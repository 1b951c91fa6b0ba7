"""Make reports of finished runs: `python -m taskdepth.report html RUN …`, or `wandb --runs RUN …`."""

from __future__ import annotations

import argparse
import sys

from taskdepth.errors import TaskdepthError
from taskdepth.report import html_report, wandb_report


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m taskdepth.report", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="html|wandb")
    of_html = commands.add_parser("html", help="one self-contained page, of one run or of several")
    html_report.add_arguments(of_html)
    of_html.set_defaults(command=html_report.main)
    of_wandb = commands.add_parser("wandb", help="a W&B Report of runs side by side")
    wandb_report.add_arguments(of_wandb)
    of_wandb.set_defaults(command=wandb_report.main)
    arguments = parser.parse_args()
    try:
        arguments.command(arguments)
    except TaskdepthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
