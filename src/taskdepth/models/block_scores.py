"""What a pre-trained model says of its own blocks, before any tuning: scores that rank them.

They are the evidence of rival policies, and need no control models.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from peft import LoraConfig
from torch import Tensor, nn

from taskdepth import layers
from taskdepth.activations.extraction import extract
from taskdepth.activations.pooling import Pooling
from taskdepth.errors import ModelError
from taskdepth.models import adapters
from taskdepth.models.targets import score_targets
from taskdepth.similarity.grid import cka_grid
from taskdepth.types import LMBatch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

IQR_OF_NORMAL = 1.349  # the inter-quartile range of a standard normal variable

Scores = Float[np.ndarray, " n_blocks"]


def gradient_norm(lm: PreTrainedModel, config: LoraConfig, batches: Iterable[LMBatch]) -> Scores:
    """The norm of the gradient that a fresh LoRA in each block gets, as a mean over `batches`.

    `lm` is itself again afterwards.

    Raises:
        ModelError: PEFT cannot adapt this model, or there is no batch.
    """
    n_blocks = layers.n_blocks(lm)
    wrapped: Any = adapters.attach(lm, copy.deepcopy(config), range(n_blocks))
    try:
        wrapped.eval()
        device = wrapped.get_input_embeddings().weight.device
        norms = [_norms_of(wrapped, batch.to(device)) for batch in batches]
    finally:
        adapters.detach(wrapped)
    if not norms:
        raise ModelError("gradient_norm needs training rows: there are none")
    scores: np.ndarray = np.mean(norms, axis=0)
    return scores


def _norms_of(lm: nn.Module, batch: LMBatch) -> Scores:
    lm.zero_grad(set_to_none=True)
    score_targets(lm, batch).loss.mean().backward()  # type: ignore[no-untyped-call]
    found = [
        sum(float(p.grad.double().square().sum()) for p in block.parameters() if p.grad is not None)
        for block in layers.find_blocks(lm)
    ]
    lm.zero_grad(set_to_none=True)
    return np.sqrt(found)


def adjacent_cka(lm: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> Scores:
    """1 - linear CKA of what enters a block and what leaves it, at the last token of `prompts`.

    NaN where undefined: the first block's, if all prompts end in the same token. Ogawa et al. 2026,
    arXiv:2602.05988, who choose the blocks where it is largest.

    Raises:
        DataError: fewer than 4 prompts.
    """
    lm.eval()
    states = extract(lm, prompts, poolings=[Pooling.LAST_TOKEN])[Pooling.LAST_TOKEN]
    similarity = cka_grid({"model": states}).linear_cka
    scores: np.ndarray = 1 - similarity.diagonal(offset=1).numpy()
    return scores


def weight_snr(lm: PreTrainedModel) -> Scores:
    """How far each block's matrices stand out from noise, relative to the same matrices of all blocks.

    Of one matrix it is the sum of its singular values above the largest that noise would have
    (Marchenko–Pastur), over the sum of the others, over the largest; the noise is estimated from their
    inter-quartile range. After Hartford et al. 2024, arXiv:2406.06623, who choose by kind of matrix and
    not by block; here the kinds are averaged, each divided by its mean over blocks.

    Raises:
        ModelError: the blocks hold no matrices.
    """
    blocks = layers.find_blocks(lm)
    of_kind: dict[str, Scores] = defaultdict(lambda: np.full(len(blocks), np.nan))
    for number, block in enumerate(blocks):
        for name, weight in block.named_parameters():
            if weight.ndim == 2:
                of_kind[name][number] = _snr(weight.detach())
    relative = [kind / np.nanmean(kind) for kind in of_kind.values() if np.isfinite(kind).any()]
    if not relative:
        raise ModelError(
            f"weight_snr: the blocks of {type(lm).__name__} hold no matrices with noise"
        )
    known = np.isfinite(relative)  # kinds of matrices that not every block has are left out
    scores: np.ndarray = np.full(len(blocks), np.nan)
    np.divide(np.nansum(relative, axis=0), known.sum(axis=0), out=scores, where=known.any(axis=0))
    return scores


def _snr(weight: Float[Tensor, "n m"]) -> float:
    values = torch.linalg.svdvals(weight.float()).double()
    lower, upper = values.quantile(torch.tensor([0.25, 0.75], dtype=values.dtype)).tolist()
    aspect = min(weight.shape) / max(weight.shape)
    edge = (upper - lower) / IQR_OF_NORMAL * (1 + aspect**0.5)
    noise = values[values <= edge].sum()
    return float(values[values > edge].sum() / noise / values[0]) if noise > 0 else float("nan")
