"""What the words of a prompt give away: the baseline that reads token counts instead of states."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

MAX_TOKENS = 4096


def bag_of_tokens(
    prompts: Sequence[Sequence[int]], is_train: Bool[Tensor, " n"], max_tokens: int = MAX_TOKENS
) -> Float[Tensor, "1 n vocabulary"]:
    """log(1 + count) of each token, every row scaled to length 1: one "depth" of a problem.

    The vocabulary are the most frequent tokens of the training rows. A common factor then brings the
    variance of the training rows to what standardised states have, 1 per dimension, so that one L2
    means about the same; tokens keep their relative weight, or rare ones would rule.
    """
    row = torch.arange(len(prompts)).repeat_interleave(torch.tensor([len(p) for p in prompts]))
    token = torch.tensor(list(chain.from_iterable(prompts)), dtype=torch.int64)
    frequency = token[is_train.cpu()[row]].bincount(minlength=int(token.max()) + 1)
    by_frequency = frequency.argsort(descending=True, stable=True)
    vocabulary = by_frequency[: min(max_tokens, int((frequency > 0).sum()))]
    column = torch.full_like(frequency, -1)
    column[vocabulary] = torch.arange(len(vocabulary))
    known = column[token] >= 0
    cell = row[known] * len(vocabulary) + column[token[known]]
    count = cell.bincount(minlength=len(prompts) * len(vocabulary)).reshape(len(prompts), -1)
    bag = normalize(count.float().log1p(), dim=-1)
    variance = bag[is_train.cpu()].var(dim=0, correction=0).mean()
    return (bag / variance.sqrt() if variance > 0 else bag)[None]
