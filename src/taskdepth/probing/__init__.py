"""What each depth holds: linear probes, fitted to their optimum, beside control tasks."""

from taskdepth.probing.solver import LogisticFit, fit_logistic, fit_path

__all__ = ["LogisticFit", "fit_logistic", "fit_path"]
