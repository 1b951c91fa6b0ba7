"""taskdepth: at what depth of a language model does a task live?

The names here are the Python interface that does not change; they are imported on first use, so
that `import taskdepth` and `train.py --help` do not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskdepth.results.table import LayerTable
    from taskdepth.selection.placement import LayerSelection, load_selection

__version__ = "0.1.0"
__all__ = ["LayerSelection", "LayerTable", "load_selection"]

_HOMES = {
    "LayerSelection": "taskdepth.selection.placement",
    "LayerTable": "taskdepth.results.table",
    "load_selection": "taskdepth.selection.placement",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
