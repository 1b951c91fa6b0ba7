"""The table of a placement study: in the terminal and as Markdown, read from `placement.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from taskdepth.errors import ResultsError
from taskdepth.results.placement import SCHEMA_VERSION, SCORE_NAMES, layers_text

FILE = "placement.json"


def read(run: Path) -> dict[str, Any]:
    """The findings of a placement study, as `placement.json` holds them.

    Raises:
        ResultsError: the run holds none, or they are of another version.
    """
    path = run / FILE
    if not path.is_file():
        raise ResultsError(
            f"{run} holds no {FILE}: run train.py experiment=placement_study to its end"
        )
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["placement"]
    if found.get("schema") != SCHEMA_VERSION:
        raise ResultsError(
            f"{path} has schema {found.get('schema')}; this version reads {SCHEMA_VERSION}"
        )
    return found


def columns(found: Mapping[str, Any]) -> list[str]:
    return [
        *("policy", "layers", "rank", "parameters"),
        SCORE_NAMES[found["score"]],
        f"gain on {found['reference']}",
        *(SCORE_NAMES[name] for name in _others(found)),
        *("s", "time saved"),
    ]


def cells(found: Mapping[str, Any]) -> list[list[str]]:
    """One row of text per policy, best first."""
    return [_row(line, found) for line in found["lines"]]


def caption(found: Mapping[str, Any]) -> str:
    """What is to be known beside the table."""
    tokens = sorted(set(found["tokens"]))
    learnt = f"{tokens[0]:,}" if len(tokens) == 1 else f"{tokens[0]:,} to {tokens[-1]:,}"
    return (
        f"{found['n_tasks']} tasks, seeds {', '.join(map(str, found['seeds']))}, {found['steps']} steps "
        f"and {learnt} tokens for each policy. Gains: above 0 is better; their 95 % intervals hold for "
        "all policies together. s: the median over seeds; time saved: with its range over seeds."
    )


def rich_table(found: Mapping[str, Any]) -> Table:
    """What fits into a terminal of 80 columns; the rest is in the Markdown."""
    table = Table(caption=caption(found), caption_justify="left", box=None, pad_edge=False)
    names = columns(found)
    shown = [0, 1, names.index(f"gain on {found['reference']}"), len(names) - 1]
    for i in shown:
        table.add_column(names[i], no_wrap=i != 1)
    for row in cells(found):
        table.add_row(*(row[i] for i in shown))
    return table


def markdown(found: Mapping[str, Any]) -> str:
    """The table by policy, the table by cluster, and the verdict."""
    clusters = list(found["lines"][0]["clusters"])
    by_cluster = [
        [line["policy"], *(_interval(line["clusters"][name]) for name in clusters)]
        for line in found["lines"]
    ]
    return "\n\n".join(
        [
            _markdown(columns(found), cells(found)),
            caption(found),
            f"**{found['verdict']}**",
            f"Gain on {found['reference']} by cluster, each interval by itself:",
            _markdown(["policy", *clusters], by_cluster),
        ]
    )


def _others(found: Mapping[str, Any]) -> list[str]:
    """The scores that do not decide."""
    return [name for name in found["lines"][0]["scores"] if name != found["score"]]


def _row(line: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    low, high = line["ranks"]
    saved = line["time_saved"]
    return [
        line["policy"] + (" (wins)" if line["policy"] == found["winner"] else ""),
        "other ones for each seed" if line["draws_blocks"] else layers_text(line["blocks"]),
        f"{low}" if low == high else f"{low}–{high}",
        f"{line['parameters']:,}",
        _score(found["score"], line["scores"][found["score"]]),
        "reference" if line["policy"] == found["reference"] else _interval(line["gain"]),
        *(_score(name, line["scores"][name]) for name in _others(found)),
        f"{line['seconds']:.1f}",
        ""
        if line["policy"] == found["reference"]
        else f"{saved['value']:.0%} [{saved['lower']:.0%}, {saved['upper']:.0%}]",
    ]


def _score(name: str, value: float) -> str:
    return f"{value:.3f}" if name == "loss" else f"{value:.1%}"


def _interval(interval: Mapping[str, float]) -> str:
    return f"{interval['value']:+.3f} [{interval['lower']:+.3f}, {interval['upper']:+.3f}]"


def _markdown(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
