"""List the tasks of a source: `python -m taskdepth.tasks [FOLDER]`."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from rich.table import Table

from taskdepth.errors import TaskdepthError
from taskdepth.tasks.demo import DemoSource
from taskdepth.tasks.folder import FolderSource
from taskdepth.tasks.spec import Source
from taskdepth.types import Split


def listing(source: Source) -> Table:
    """One line per task: cluster, kind, rows per split, labels."""
    table = Table(title=f"{len(source.specs())} tasks")
    for column in ("task", "cluster", "kind"):
        table.add_column(column, no_wrap=True)
    for column in Split:
        table.add_column(column.value, justify="right")
    table.add_column("labels", overflow="fold")
    for spec in sorted(source.specs().values(), key=lambda spec: (spec.cluster, spec.name)):
        counts = [str(len(list(source.examples(spec.name, split)))) for split in Split]
        table.add_row(spec.name, spec.cluster, spec.kind.value, *counts, " | ".join(spec.labels))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m taskdepth.tasks", description=__doc__)
    parser.add_argument("folder", nargs="?", help="folder of JSONL files; the demo suite without it")
    folder = parser.parse_args().folder
    try:
        Console().print(listing(FolderSource(folder) if folder else DemoSource()))
    except TaskdepthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
