"""How well a tuned model does each task: ranking for closed sets, generation for free text."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch

from taskdepth import terminal
from taskdepth.config import EvaluationConfig
from taskdepth.data.batches import Batching, ScoringBatches
from taskdepth.data.rows import load
from taskdepth.data.tokenise import Tokeniser
from taskdepth.models.generation import generate
from taskdepth.models.packing import packed
from taskdepth.models.ranking import score_answers
from taskdepth.models.text_scores import text_scores
from taskdepth.tasks.spec import Kind, Score, Source, TaskSpec
from taskdepth.types import Example, Split


def evaluate(
    lm: Any,
    source: Source,
    specs: Sequence[TaskSpec],
    tokeniser: Tokeniser,
    config: EvaluationConfig,
    batching: Batching,
) -> dict[str, dict[str, float]]:
    """Task → score → value, with `n`, the number of rows: `accuracy` or the scores of free text.

    Rows of inverted templates, and rows that do not fit, are left out.

    Raises:
        DataError: a task has no usable rows in the split.
    """
    found = {}
    for spec in terminal.tracked([(spec.name, spec) for spec in specs], "evaluate", "tasks"):
        examples = load(source, spec, Split(config.split), config.max_examples_per_task)
        if spec.kind is Kind.GENERATION:
            found[spec.name] = _generated(lm, examples, tokeniser, config)
        else:
            found[spec.name] = _ranked(lm, spec, examples, tokeniser, batching)
    return found


def _generated(
    lm: Any, examples: Sequence[Example], tokeniser: Tokeniser, config: EvaluationConfig
) -> dict[str, float]:
    answers = generate(
        lm,
        tokeniser.tokenizer,
        [tokeniser.prompt(example).input_ids for example in examples],
        max_new_tokens=config.max_new_tokens,
        batch_tokens=config.batch_tokens,
    )
    references = [example.targets for example in examples]
    return {**text_scores(answers, references), "n": len(examples)}


@torch.no_grad()
def _ranked(
    lm: Any,
    spec: TaskSpec,
    examples: Sequence[Example],
    tokeniser: Tokeniser,
    batching: Batching,
) -> dict[str, float]:
    lm.eval()
    n_rows = batching.examples * 4
    batches = ScoringBatches(examples, [spec], tokeniser, n_rows, batching.packed)
    device = lm.get_input_embeddings().weight.device
    n_right = n_ranked = 0
    with packed(lm) if batching.packed else nullcontext():
        for scoring in batches:
            scores = score_answers(lm, scoring.to(device))
            n_right += int((scores.is_ranked & scores.is_closed).sum())
            n_ranked += int(scores.is_closed.sum())
    return {Score.ACCURACY: n_right / n_ranked, "n": n_ranked} if n_ranked else {"n": 0}
