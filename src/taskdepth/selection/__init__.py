"""From layer findings to the blocks where an adapter should go."""

from taskdepth.selection.placement import LayerSelection, check_fits
from taskdepth.selection.policies import POLICIES, Evidence, Policy, choose, select
from taskdepth.selection.regions import Regions, detect_regions
from taskdepth.selection.signals import Signals, layer_signals

__all__ = [
    "POLICIES",
    "Evidence",
    "LayerSelection",
    "Policy",
    "Regions",
    "Signals",
    "check_fits",
    "choose",
    "detect_regions",
    "layer_signals",
    "select",
]
