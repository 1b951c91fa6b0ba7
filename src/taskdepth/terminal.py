"""What a command says: to people on stderr, to machines as one JSON object on stdout, or nothing.

Every console and progress bar of a command is Rich's global one, so that one setting rules all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import rich
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

Item = TypeVar("Item")


class Output(StrEnum):
    NORMAL = "normal"  # progress, and a summary at the end, on stderr
    QUIET = "quiet"  # errors only
    JSON = "json"  # errors on stderr, and one JSON object on stdout at the end


def set_up(output: str) -> Console:
    """Make all consoles and progress bars of this process speak as `output` says; returns the console."""
    rich.reconfigure(stderr=True, quiet=output != Output.NORMAL, highlight=False, soft_wrap=True)
    return rich.get_console()


class Rate(ProgressColumn):
    """The field `tokens` per second, where a task counts them."""

    def render(self, task: Task) -> Text:
        tokens = task.fields.get("tokens", 0)
        if not tokens or not task.elapsed:
            return Text("")
        return Text(f"{short(tokens / task.elapsed)} tok/s", style="cyan", no_wrap=True)


def progress(unit: str = "", *, disable: bool = False) -> Progress:
    """A bar with done/all, `unit`, tokens per second, the time left, and what is being worked on.

    Its tasks take the fields `tokens` and `what`, both of which may be left out.
    """
    return Progress(
        TextColumn("{task.description}"),
        # narrow enough that a line of 80 columns has room for what is being worked on
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn(unit),
        Rate(),
        TimeRemainingColumn(compact=True),
        What(table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        expand=True,
        disable=disable,
    )


def tracked(items: Sequence[tuple[str, Item]], description: str, unit: str) -> Iterator[Item]:
    """Go through named `items` behind a bar that tells which it is at."""
    with progress(unit) as bar:
        task = bar.add_task(description, total=len(items))
        for name, item in items:
            bar.update(task, what=name)
            yield item
            bar.advance(task)
        bar.update(task, what="")


class What(ProgressColumn):
    """What is being worked on: names of tasks, which are not markup."""

    def render(self, task: Task) -> Text:
        return Text(
            str(task.fields.get("what", "")), style="dim", overflow="ellipsis", no_wrap=True
        )


def short(number: float) -> str:
    """A number in three or four characters.

    >>> short(12), short(1234), short(9999), short(45678), short(1.5e6)
    ('12', '1.2k', '10k', '46k', '1.5M')
    """
    for limit, divisor, suffix in ((1e3, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M")):
        if number < limit * 0.9995:
            value = number / divisor
            return f"{value:.1f}{suffix}" if suffix and value < 9.95 else f"{value:.0f}{suffix}"
    return f"{number / 1e9:.1f}G"


def say_results(console: Console, title: str, lines: Mapping[str, object]) -> None:
    """The end of a command: a line each, paths whole so that they can be copied."""
    console.print()
    console.print(title, style="bold", markup=False)
    width = max(map(len, lines), default=0)
    for name, value in lines.items():
        console.print(f"  [dim]{name:<{width}}[/dim]  ", end="")
        console.print(str(value), markup=False)


def say_sentences(console: Console, sentences: Sequence[str]) -> None:
    """A bullet each, wrapped where the terminal ends."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for sentence in sentences:
        grid.add_row("  •", Text(sentence))
    console.print(grid, soft_wrap=False)


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(4.21), duration(42), duration(200), duration(3700)
    ('4.2 s', '42 s', '3 min 20 s', '1 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def shown(path: Path | str) -> str:
    """A path as short as it can be said from here.

    >>> shown(Path.cwd() / "outputs" / "a")
    'outputs/a'
    """
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
