"""The part of --help that lists what can be chosen, read off `conf/` so that it cannot be out of date."""

from __future__ import annotations

import textwrap
from pathlib import Path

import yaml

WIDTH = 80
NOT_LISTED = ("hydra", "paths", "local")


def groups(conf: Path, command: str) -> str:
    """A line or more for each group of `command` (train, probe) with its options, the default's starred."""
    lines = []
    for group, default in _defaults(conf / f"{command}.yaml").items():
        options = [
            path.stem for path in sorted((conf / group).glob("*.yaml")) if _is_for(path, command)
        ]
        shown = sorted(
            (f"{o}*" if o == default else o for o in options), key=lambda o: "*" not in o
        )
        head = f"  {group:<12}"
        body = textwrap.fill(
            ", ".join(shown), WIDTH, initial_indent=head, subsequent_indent=" " * len(head)
        )
        lines.append(body)
    return "\n".join(_side_by_side(lines))


def _side_by_side(lines: list[str]) -> list[str]:
    """Short lines in pairs: the whole help should fit on a screen."""
    column = 40
    short = [line for line in lines if len(line) < column - 2]
    pairs = [
        f"{left:<{column}}{right}".rstrip()
        for left, right in zip(short[::2], [*short[1::2], ""], strict=False)
    ]
    return [line for line in lines if len(line) >= column - 2] + pairs


def _defaults(path: Path) -> dict[str, str | None]:
    """Group → its default option, of the groups that a user chooses from."""
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))["defaults"]
    found = {
        group: option
        for entry in entries
        if isinstance(entry, dict)
        for group, option in entry.items()
        if not group.startswith(("override ", "optional "))
    }
    return {group: option for group, option in found.items() if group not in NOT_LISTED}


def _is_for(path: Path, command: str) -> bool:
    """Experiments, and what helps with finding errors, say in their first lines which command they are for."""
    if path.parent.name not in ("experiment", "debug"):
        return True
    head = path.read_text(encoding="utf-8").splitlines()[:3]
    return any("probe.py" in line for line in head) == (command == "probe")
