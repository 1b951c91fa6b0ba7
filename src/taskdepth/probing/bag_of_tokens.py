"""What the words of a prompt give away: probes that read token counts instead of states."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

MAX_TOKENS = 4096
CHUNK_ROWS = 1024
ROUNDING = 1e-12  # a variance below is that of rows that are alike


class BagOfTokens:
    """log(1 + count) of each token, every row scaled to length 1: one "depth" of a problem.

    The vocabulary are the most frequent tokens of the training rows. A common factor then brings the
    variance of the training rows to what standardised states have, 1 per dimension, so that one L2
    means about the same; tokens keep their relative weight, or rare ones would rule. Rows are made
    when they are read.
    """

    def __init__(
        self,
        prompts: Sequence[Sequence[int]],
        is_train: Bool[Tensor, " n"],
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        self._prompts = prompts
        train = is_train.cpu().nonzero()[:, 0]
        n_tokens = 1 + max(map(max, filter(None, prompts)))
        frequency = torch.zeros(n_tokens, dtype=torch.int64)
        for rows in torch.split(train, CHUNK_ROWS):
            frequency += self._tokens(rows)[1].bincount(minlength=n_tokens)
        by_frequency = frequency.argsort(descending=True, stable=True)
        vocabulary = by_frequency[: min(max_tokens, int((frequency > 0).sum()))]
        self._column = torch.full_like(frequency, -1)
        self._column[vocabulary] = torch.arange(len(vocabulary))
        self._width = len(vocabulary)
        self._factor = 1.0
        total, squares = (torch.zeros(self._width, dtype=torch.float64) for _ in range(2))
        for rows in torch.split(train, CHUNK_ROWS):
            bag = self.read(rows)[0].double()
            total, squares = total + bag.sum(dim=0), squares + bag.square().sum(dim=0)
        variance = float((squares / len(train) - (total / len(train)).square()).mean())
        if variance > ROUNDING:
            self._factor = variance**-0.5

    @property
    def shape(self) -> tuple[int, int, int]:
        return 1, len(self._prompts), self._width

    def read(self, rows: Int[Tensor, " k"]) -> Float[Tensor, "1 k vocabulary"]:
        row, token = self._tokens(rows)
        known = self._column[token] >= 0
        cell = row[known] * self._width + self._column[token[known]]
        count = cell.bincount(minlength=len(rows) * self._width).reshape(len(rows), -1)
        return self._factor * normalize(count.float().log1p(), dim=-1)[None]

    def _tokens(self, rows: Int[Tensor, " k"]) -> tuple[Tensor, Tensor]:
        """All tokens of `rows`, and of each the place of its row there."""
        prompts = [self._prompts[i] for i in rows.tolist()]
        row = torch.arange(len(rows)).repeat_interleave(torch.tensor([len(p) for p in prompts]))
        return row, torch.tensor(list(chain.from_iterable(prompts)), dtype=torch.int64)


def bag_of_tokens(
    prompts: Sequence[Sequence[int]], is_train: Bool[Tensor, " n"], max_tokens: int = MAX_TOKENS
) -> Float[Tensor, "1 n vocabulary"]:
    """All rows of `BagOfTokens`."""
    return BagOfTokens(prompts, is_train, max_tokens).read(torch.arange(len(prompts)))
