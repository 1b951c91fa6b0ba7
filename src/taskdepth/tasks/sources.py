"""Every source by its name: what `data=<name>` composes and `--source <name>` lists."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from taskdepth.errors import DataError, nearest
from taskdepth.tasks.spec import Source


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """`target` is the class; `path` what it calls `data.path`, None when it takes none."""

    target: str
    path: str | None
    needs_path: bool = True


SOURCES: Mapping[str, SourceEntry] = {
    "demo": SourceEntry("taskdepth.tasks.demo.DemoSource", None, needs_path=False),
    "flan_hub": SourceEntry("taskdepth.tasks.flan_hub.FlanHubSource", "mirror", needs_path=False),
    "flan_raw": SourceEntry("taskdepth.tasks.flan_raw.FlanRawSource", "mirror", needs_path=False),
    "alpaca": SourceEntry("taskdepth.tasks.alpaca.AlpacaSource", "path"),
    "natural_instructions": SourceEntry(
        "taskdepth.tasks.natural_instructions.NaturalInstructionsSource", "path"
    ),
    "folder": SourceEntry("taskdepth.tasks.folder.FolderSource", "path"),
}


def build(name: str, path: str | None = None, on_error: str = "raise") -> Source:
    """The source called `name`, on `path`.

    Raises:
        DataError: there is none of this name, or it needs a path, or takes none.
    """
    if name not in SOURCES:
        raise DataError(f"unknown source {name!r}: {nearest(name, list(SOURCES))}")
    entry = SOURCES[name]
    if entry.needs_path and path is None:
        raise DataError(f"source {name} needs a path")
    if entry.path is None and path is not None:
        raise DataError(f"source {name} takes no path")
    module, _, attribute = entry.target.rpartition(".")
    try:
        make: Any = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError:
        raise DataError(f"source {name} is not installed: no module {module}") from None
    arguments = {} if entry.path is None else {entry.path: path, "on_error": on_error}
    return cast(Source, make(**arguments))
