"""List the tasks of a source: `python -m taskdepth.tasks [FOLDER]`."""

from __future__ import annotations

import argparse
import sys
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from taskdepth.errors import TaskdepthError
from taskdepth.tasks.demo import DemoSource
from taskdepth.tasks.folder import FolderSource
from taskdepth.tasks.spec import Kind, Source
from taskdepth.types import Split

KINDS = {
    Kind.CLASSIFICATION: "classes",
    Kind.MULTIPLE_CHOICE: "choice",
    Kind.GENERATION: "free text",
}


def listing(source: Source) -> Table:
    """One line per task, cluster by cluster: kind, rows per split, labels."""
    specs = sorted(source.specs().values(), key=lambda spec: (spec.cluster, spec.name))
    table = Table(title=f"{len(specs)} tasks")
    table.add_column("task", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("rows*", no_wrap=True)
    table.add_column("labels", overflow="fold")
    for cluster, members in groupby(specs, key=lambda spec: spec.cluster):
        table.add_section()
        table.add_row(f"[bold]{escape(cluster)}[/bold]")
        for spec in members:
            counts = [str(len(list(source.examples(spec.name, split)))) for split in Split]
            labels = " | ".join(spec.labels)
            row = (f"  {spec.name}", KINDS[spec.kind], "/".join(counts), labels)
            table.add_row(*map(escape, row))
    table.caption = "* training / validation / test"
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m taskdepth.tasks", description=__doc__)
    parser.add_argument(
        "folder", nargs="?", help="folder of JSONL files; the demo suite without it"
    )
    folder = parser.parse_args().folder
    try:
        Console().print(listing(FolderSource(folder) if folder else DemoSource()))
    except TaskdepthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
