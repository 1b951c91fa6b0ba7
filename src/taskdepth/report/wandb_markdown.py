"""Tables and numbers in the Markdown of a W&B Report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table in which names stay names."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(escaped, line))} |" for line in lines)


def escaped(text: str) -> str:
    """`text` as a cell that shows it as it is; `---` is the line below a head."""
    if text == "---":
        return text
    # HTML and Markdown mean something to W&B, the names of runs should not
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>#|!~$" else c for c in text)


def number(value: Any, style: str) -> str:
    """`value` in a format such as `.3f`; a dash where there is none."""
    return "–" if value is None else format(value, style)


def interval(about: Mapping[str, float]) -> str:
    """A value, with its `lower` and `upper` end."""
    return f"{about['value']:+.3f} [{about['lower']:+.3f}, {about['upper']:+.3f}]"
