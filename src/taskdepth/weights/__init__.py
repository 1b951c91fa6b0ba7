"""What an adapter does to the weights of each block."""

from taskdepth.weights.intruders import Spectrum, intruder_dimensions
from taskdepth.weights.update import Update, effective_rank, overlap_of_inputs, overlap_of_outputs

__all__ = [
    "Spectrum",
    "Update",
    "effective_rank",
    "intruder_dimensions",
    "overlap_of_inputs",
    "overlap_of_outputs",
]
