"""How alike two models' representations of the same examples are."""

from taskdepth.similarity.functional import debiased_cka, linear_cka, rbf_cka
from taskdepth.similarity.grid import Comparison, Estimate, compare, join

__all__ = ["Comparison", "Estimate", "compare", "debiased_cka", "join", "linear_cka", "rbf_cka"]
