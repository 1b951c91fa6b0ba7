"""The tables that `python -m taskdepth.tasks` prints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from taskdepth.tasks.leakage import LeakageReport
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.tasks.summary import TaskSummary
from taskdepth.types import Split

MAX_SHOWN = 8


def task_table(summaries: Sequence[TaskSummary], unit: str = "words") -> Table:
    """One line per task, cluster by cluster: kind, rows, mean length of a prompt, labels."""
    ordered = sorted(summaries, key=lambda s: (s.spec.cluster, s.spec.name))
    counted = any(summary.splits for summary in ordered)
    n_clusters = len({summary.spec.cluster for summary in ordered})
    table = Table(
        title=f"{_counted(len(ordered), 'task')} in {_counted(n_clusters, 'cluster')}",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        caption_justify="left",
    )
    table.add_column("task", no_wrap=True, overflow="ellipsis", max_width=40)
    table.add_column("kind", no_wrap=True, justify="right")
    if counted:
        table.add_column("rows ¹", no_wrap=True, justify="right")
        table.add_column("inv. ²", no_wrap=True, justify="right")
        table.add_column(unit, no_wrap=True, justify="right")
        table.caption = (
            f"¹ training/validation/test, as probes see them; {unit}: mean of their prompts\n"
            "² inverted, left out: the prompt gives the answer away or asks for something else"
        )
    table.add_column("labels")  # the only column that may shrink
    for cluster, members in groupby(ordered, key=lambda summary: summary.spec.cluster):
        table.add_row(Text(cluster, style="bold"))
        for summary in members:
            spec = summary.spec
            cells = [f"  {spec.name}", _kind(spec), *_counts(summary, counted)]
            labels = Text(" | ".join(spec.labels), no_wrap=True, overflow="ellipsis")
            table.add_row(*map(escape, cells), labels)
    return table


def _kind(spec: TaskSpec) -> str:
    if spec.kind is Kind.CLASSIFICATION:
        return f"{len(spec.labels)} classes"
    return "choice" if spec.kind is Kind.MULTIPLE_CHOICE else "free text"


def _counts(summary: TaskSummary, counted: bool) -> list[str]:
    if not counted:
        return []
    length = summary.mean_prompt_length
    return [
        "/".join(str(summary.splits[split].n_rows) for split in Split),
        str(summary.n_inverted or ""),
        "" if length is None else f"{length:.0f}",
    ]


def _notes(heading: str, lines: Sequence[str]) -> Group | None:
    """A heading with indented lines below it; None where there are no lines."""
    if not lines:
        return None
    indented = (Padding(Text(line), (0, 0, 0, 2)) for line in lines)
    return Group(Text(f"\n{heading}", style="bold"), *indented)


def warnings(summaries: Sequence[TaskSummary]) -> Group | None:
    """Each warning with the tasks that it holds for."""
    tasks: dict[str, list[str]] = defaultdict(list)
    for summary in summaries:
        for warning in summary.warnings:
            tasks[warning].append(summary.spec.name)
    lines = [f"{warning}: {_names(names, len(summaries))}" for warning, names in tasks.items()]
    return _notes("Warnings", lines)


def skipped(rows: Mapping[str, Sequence[str]]) -> Group | None:
    """The rows that cannot be used, a few of each task."""
    n_rows = sum(map(len, rows.values()))
    lines = [line for per_task in rows.values() for line in _few(per_task)]
    return _notes(f"{_counted(n_rows, 'row')} cannot be used", lines)


def leakage(report: LeakageReport | None) -> Table | Text | None:
    """Places that share prompts, the largest overlap first; None where nobody looked."""
    if report is None:
        return None
    if not report.overlaps:
        return Text("\nLeakage: no prompt occurs at two places", style="bold")
    n_within, n_tasks = len(report.across_splits), len(report.across_tasks)
    table = Table(
        title=f"Leakage: {_counted(n_within, 'pair')} of splits, {_counted(n_tasks, 'pair')} of tasks",
        box=box.SIMPLE_HEAD,
        caption="prompts: distinct ones that occur at both places; rows: a few of them, at the second",
        caption_justify="left",
    )
    for name in ("first", "second"):
        table.add_column(name, overflow="fold")
    table.add_column("prompts", justify="right")
    table.add_column("rows", overflow="fold")
    for first, second, n_prompts, ids in report.rows():
        table.add_row(escape(first), escape(second), str(n_prompts), escape(ids))
    return table


def _names(names: Sequence[str], n_tasks: int) -> str:
    if len(names) == n_tasks > MAX_SHOWN:
        return f"all {n_tasks} tasks"
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(names[:MAX_SHOWN]) + more


def _few(lines: Sequence[str]) -> Iterator[str]:
    yield from lines[:MAX_SHOWN]
    if len(lines) > MAX_SHOWN:
        yield f"… and {len(lines) - MAX_SHOWN} more of this task"


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
