"""The tables that `python -m taskdepth.activations ls` prints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich import box
from rich.console import Group
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from taskdepth.activations.inventory import Condition, Entry

N_LETTERS = 12  # of a key: enough to tell keys apart


def tables(entries: Sequence[Entry]) -> Group:
    """One line per key, in a table for each model; depths, poolings and dtype are in its title."""
    ordered = sorted(entries, key=lambda entry: (_shared(entry), _own(entry)))
    parts = [_table(title, list(members)) for title, members in groupby(ordered, key=_shared)]
    return Group(*parts, f"{counted(entries)} in all")


def counted(entries: Sequence[Entry]) -> str:
    """How many keys, and their size."""
    noun = "key" if len(entries) == 1 else "keys"
    return f"{len(entries)} {noun}, {decimal(sum(entry.size_bytes for entry in entries))}"


def _table(title: str, entries: Sequence[Entry]) -> Table:
    drawn = Table(
        title=escape(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        width=80,
    )
    drawn.add_column("key", no_wrap=True)
    drawn.add_column("task", no_wrap=True, overflow="ellipsis", ratio=1)
    drawn.add_column("split", no_wrap=True)
    drawn.add_column("rows", no_wrap=True, justify="right")
    drawn.add_column("size", no_wrap=True, justify="right")
    drawn.add_column("state", no_wrap=True)
    for entry in entries:
        drawn.add_row(entry.key[:N_LETTERS], *map(escape, _own(entry)))
    return drawn


def _shared(entry: Entry) -> str:
    parts = [str(entry.about.get(name, "")) for name in ("model", "role")]
    if entry.found is not None:
        parts += [f"{len(entry.found.depths)} depths", ", ".join(entry.found.poolings)]
    return " · ".join(part for part in (*parts, entry.dtype) if part) or "of unknown origin"


def _own(entry: Entry) -> list[str]:
    rows = str(entry.n_rows)
    if entry.condition is Condition.PARTIAL:
        rows = f"{entry.n_rows_there}/{entry.n_rows or '?'}"
    task, split = (str(entry.about.get(name, "")) for name in ("task", "split"))
    return [task, split, rows, decimal(entry.size_bytes), str(entry.condition)]
