"""Scores of a probe's test predictions beside accuracy, by torchmetrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid
from torchmetrics.functional.classification import (
    multiclass_auroc,
    multiclass_calibration_error,
    multiclass_f1_score,
)

from taskdepth.probing.solver import LogisticFit

N_BINS = 15  # of confidence, as in Guo et al. 2017, arXiv:1706.04599

Score = Callable[[Float[Tensor, "n classes"], Int[Tensor, " n"]], float]


def log_probabilities(
    fit: LogisticFit, x: Float[Tensor, "*#problems n d"]
) -> Float[Tensor, "*problems n classes"]:
    """The log-probability of every class, -inf where the training rows had none of it."""
    logits = (x.to(fit.weight.dtype) @ fit.weight + fit.bias[..., None, :]).double()
    if logits.shape[-1] == 1:
        return torch.cat([logsigmoid(-logits), logsigmoid(logits)], dim=-1)
    return logits.log_softmax(dim=-1)


def macro_f1(probability: Float[Tensor, "n classes"], y: Int[Tensor, " n"]) -> float:
    """The mean over classes of F1; classes that are neither there nor predicted do not count."""
    n_classes = probability.shape[-1]
    predicted = probability.argmax(dim=-1)
    return float(multiclass_f1_score(predicted, y, num_classes=n_classes, average="macro"))


def auroc(probability: Float[Tensor, "n classes"], y: Int[Tensor, " n"]) -> float:
    """The mean over classes of the area under the curve of one against the rest.

    NaN where a class has no rows: its curve does not exist.
    """
    n_classes = probability.shape[-1]
    if bool((y.bincount(minlength=n_classes) == 0).any()):
        return float("nan")
    return float(multiclass_auroc(probability, y, num_classes=n_classes, average="macro"))


def calibration_error(probability: Float[Tensor, "n classes"], y: Int[Tensor, " n"]) -> float:
    """The expected distance between confidence and accuracy, in 15 bins (Guo et al. 2017)."""
    return float(
        multiclass_calibration_error(
            probability, y, num_classes=probability.shape[-1], n_bins=N_BINS, norm="l1"
        )
    )


SCORES: Mapping[str, Score] = {
    "macro_f1": macro_f1,
    "auroc": auroc,
    "calibration_error": calibration_error,
}


def scored(
    names: Sequence[str],
    probability: Float[Tensor, "n_depths n classes"],
    y: Int[Tensor, " n"],
) -> dict[str, Float[Tensor, " n_depths"]]:
    """Each of the named scores at every depth."""
    probability, y = probability.cpu(), y.cpu()
    return {
        name: torch.tensor([SCORES[name](p, y) for p in probability], dtype=torch.float64)
        for name in names
    }
