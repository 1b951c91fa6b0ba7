"""What a model scores on each task, without generating: as validation does, on any rows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch

from taskdepth.data.batches import ScoringBatches
from taskdepth.models.packing import packed
from taskdepth.models.ranking import score_answers
from taskdepth.models.scores import TaskScores

NAMES = ("loss", "exact_match", "rank_accuracy")


@torch.no_grad()
def score_tasks(
    lm: Any, batches: ScoringBatches, tasks: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Task → score → value: `loss` per target token, `exact_match` by teacher forcing, and, where the
    batches hold wrong answers too, `rank_accuracy`. `lm` is left in eval mode."""
    lm.eval()
    device = lm.get_input_embeddings().weight.device
    found = TaskScores(len(tasks), NAMES)
    with packed(lm) if batches.packed else nullcontext():
        for batch in batches:
            scoring = batch.to(device)
            scores, task = score_answers(lm, scoring), scoring.task_index.cpu()
            closed = scores.is_closed.cpu()
            found["loss"].update(task, scores.loss.cpu(), scores.n_tokens.cpu())
            found["exact_match"].update(task, scores.is_decoded.cpu().float())
            found["rank_accuracy"].update(task[closed], scores.is_ranked.cpu()[closed].float())
    return found.by_task(tasks)
