"""What is kept of a float32 state in fewer bits: the distance to a mean that is kept in full."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth.errors import ResultsError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def centred(
    states: Float[Tensor, "n_depths n d_model"], dtype: str
) -> tuple[Float[Tensor, "n_depths n d_model"], Float[Tensor, "n_depths d_model"]]:
    """`states` minus their mean row, cast down to `dtype`; and that mean, float32.

    A few dimensions of a language model's states are larger than the others by orders of magnitude,
    and nearly the same in every row (massive activations, arXiv:2402.17762). Their low bits are what
    tells rows apart, and a cast rounds those away: kept in bfloat16 as they are, such states were seen
    to move CKA by 0.07. Once the mean is taken off, the bits are spent on the differences.

    Raises:
        ResultsError: a finite value is beyond what `dtype` holds.
    """
    # a row that is not finite must not spoil the others through their mean
    known = torch.where(states.isfinite(), states, torch.nan)
    mean = torch.stack([depth.double().nanmean(dim=0).float() for depth in known]).nan_to_num(0.0)
    distance = states - mean.unsqueeze(1)
    stored = distance.to(DTYPES[dtype])
    if not torch.equal(stored.isfinite(), distance.isfinite()):
        raise ResultsError(f"states are too large for {dtype}: store them as bfloat16 or float32")
    return stored, mean


def restored(
    stored: Float[Tensor, "n_depths n d_model"], mean: Float[Tensor, "n_depths d_model"]
) -> Float[Tensor, "n_depths n d_model"]:
    """What `centred` took apart, as float32."""
    return stored.float() + mean.unsqueeze(1)
