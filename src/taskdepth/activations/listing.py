"""The table that `python -m taskdepth.activations ls` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from taskdepth.activations.inventory import Condition, Entry

N_LETTERS = 12  # of a key: enough to tell keys apart


def table(entries: Sequence[Entry]) -> Table:
    """One line per key."""
    size = decimal(sum(entry.size_bytes for entry in entries))
    drawn = Table(
        title=f"{len(entries)} {'key' if len(entries) == 1 else 'keys'}, {size}",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    drawn.add_column("key", no_wrap=True)
    for name in ("model", "role", "task", "split"):
        drawn.add_column(name, overflow="fold")
    for name in ("rows", "depths"):
        drawn.add_column(name, justify="right")
    for name in ("poolings", "dtype"):
        drawn.add_column(name, overflow="fold")
    drawn.add_column("size", justify="right", no_wrap=True)
    drawn.add_column("state", no_wrap=True)
    for entry in entries:
        drawn.add_row(*map(escape, _cells(entry)))
    return drawn


def _cells(entry: Entry) -> list[str]:
    about = [str(entry.about.get(name, "")) for name in ("model", "role", "task", "split")]
    rows = str(entry.n_rows)
    if entry.condition is Condition.PARTIAL:
        rows = f"{entry.n_rows_there}/{entry.n_rows or '?'}"
    depths = str(len(entry.found.depths)) if entry.found else ""
    poolings = ", ".join(entry.found.poolings) if entry.found else ""
    size = decimal(entry.size_bytes)
    return [
        entry.key[:N_LETTERS],
        *about,
        rows,
        depths,
        poolings,
        entry.dtype,
        size,
        str(entry.condition),
    ]
