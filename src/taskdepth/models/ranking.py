"""Scoring the answers that an example could have, by their loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from taskdepth.models.targets import min_by, score_targets, sum_by

if TYPE_CHECKING:
    from taskdepth.data.batches import ScoringBatch


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """Per example: the loss of its own target, summed over `n_tokens`; whether greedy decoding gives a right
    answer (`is_decoded`); and, where it `is_closed`, whether the likeliest answer is right (`is_ranked`)."""

    loss: Float[Tensor, " n"]
    n_tokens: Float[Tensor, " n"]
    is_decoded: Bool[Tensor, " n"]
    is_closed: Bool[Tensor, " n"]
    is_ranked: Bool[Tensor, " n"]


def score_answers(lm: nn.Module, scoring: ScoringBatch) -> AnswerScores:
    """Run `lm` on every answer of every example in `scoring`.

    Answers are ranked by the likelihood of all their tokens. Decoding is judged by teacher forcing: it gives
    an answer when each of the answer's tokens is the likeliest.
    """
    targets = score_targets(lm, scoring.batch)
    loss, n_tokens = targets.by_example(targets.loss), targets.n_tokens
    n_wrong = targets.by_example((~targets.is_likeliest).float())
    example, n = scoring.example, len(scoring.task_index)
    first = scoring.is_first
    best = min_by(example, loss, n)
    best_is_right = scoring.is_right & (loss == best[example])
    return AnswerScores(
        loss=loss[first],
        n_tokens=n_tokens[first],
        is_decoded=_any_by(example, scoring.is_right & (n_wrong == 0), n),
        is_closed=_any_by(example, ~scoring.is_right, n),
        is_ranked=_any_by(example, best_is_right, n),
    )


def _any_by(index: Tensor, values: Bool[Tensor, " k"], n: int) -> Bool[Tensor, " n"]:
    return sum_by(index, values.to(torch.float32), n) > 0
