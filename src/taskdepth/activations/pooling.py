"""Which token stands for a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float, Int
from torch import Tensor

from taskdepth.models.targets import sum_by


class Pooling(StrEnum):
    LAST_TOKEN = "last_token"  # the last prompt token: the paper's (arXiv:2410.20008, section 3)
    MEAN = "mean"  # all prompt tokens
    FIRST_TARGET = "first_target"  # the first target token, read after the prompt


@dataclass(frozen=True, slots=True)
class Places:
    """Where in a batch the tokens of `n` prompts are; tokens are numbered along its rows.

    `prompt` are the places of all prompt tokens, `example` the prompt that each belongs to, `last` the
    last one of each prompt, and `end` the last token of each sequence: the first target token where one
    was read.
    """

    prompt: Int[Tensor, " n_tokens"]
    example: Int[Tensor, " n_tokens"]
    last: Int[Tensor, " n"]
    end: Int[Tensor, " n"]
    n_prompt_tokens: Float[Tensor, " n"]

    @classmethod
    def of(cls, tokens: Sequence[Int[Tensor, " _"]], prompt_tokens: Sequence[int]) -> Places:
        """Of sequences whose tokens are at the places `tokens`, the first `prompt_tokens` the prompt's.

        >>> Places.of([torch.arange(3), torch.arange(3, 4)], [2, 1]).prompt.tolist()
        [0, 1, 3]
        """
        lengths = torch.tensor(prompt_tokens)
        return cls(
            prompt=torch.cat([places[:n] for places, n in zip(tokens, prompt_tokens, strict=True)]),
            example=torch.arange(len(tokens)).repeat_interleave(lengths),
            last=torch.stack(
                [places[n - 1] for places, n in zip(tokens, prompt_tokens, strict=True)]
            ),
            end=torch.stack([places[-1] for places in tokens]),
            n_prompt_tokens=lengths.float(),
        )

    def to(self, device: torch.device) -> Places:
        return Places(
            self.prompt.to(device),
            self.example.to(device),
            self.last.to(device),
            self.end.to(device),
            self.n_prompt_tokens.to(device),
        )


def pool(
    states: Float[Tensor, "rows s d_model"], places: Places, pooling: Pooling
) -> Float[Tensor, "n d_model"]:
    """One state per prompt, in float32.

    >>> states, places = torch.arange(6.0).reshape(1, 3, 2), Places.of([torch.arange(3)], [2])
    >>> pool(states, places, Pooling.LAST_TOKEN).tolist()
    [[2.0, 3.0]]
    >>> pool(states, places, Pooling.MEAN).tolist()
    [[1.0, 2.0]]
    """
    tokens = states.flatten(0, 1)
    if pooling is Pooling.LAST_TOKEN:
        return tokens[places.last].float()
    if pooling is Pooling.FIRST_TARGET:
        return tokens[places.end].float()
    # padding may hold anything, and a token may be that of several prompts
    sums = sum_by(places.example, tokens[places.prompt].float(), len(places.last))
    return sums / places.n_prompt_tokens.unsqueeze(1)
