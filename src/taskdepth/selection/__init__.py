"""From layer findings to the blocks where an adapter should go."""

from taskdepth.selection.placement import POLICIES, LayerSelection, check_fits, select
from taskdepth.selection.regions import Regions, detect_regions
from taskdepth.selection.signals import Signals, layer_signals

__all__ = [
    "POLICIES",
    "LayerSelection",
    "Regions",
    "Signals",
    "check_fits",
    "detect_regions",
    "layer_signals",
    "select",
]
