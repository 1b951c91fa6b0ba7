"""How well free answers are right: exact match, F1, ROUGE-L, BLEU."""

from __future__ import annotations

from collections.abc import Sequence

import sacrebleu
from torchmetrics.functional.text import rouge_score, squad

from taskdepth.tasks.spec import Score


def text_scores(answers: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Each score over all answers, from 0 to 1; any of an answer's `references` is right.

    Exact match and F1 of words are SQuAD's (Rajpurkar et al. 2016): lower case, without articles and
    punctuation; the best reference counts. ROUGE-L (Lin 2004) is its F-measure with the best reference.
    BLEU is the corpus score of sacreBLEU (Post 2018, tokenizer 13a) over all references.

    >>> text_scores(["The cat"], [["a cat", "dog"]])["exact_match"]
    1.0
    """
    if not answers:
        return {}
    found = squad(
        [{"prediction_text": answer, "id": str(i)} for i, answer in enumerate(answers)],
        [
            {"answers": {"text": list(right), "answer_start": [0] * len(right)}, "id": str(i)}
            for i, right in enumerate(references)
        ],
    )
    rouge = rouge_score(
        list(answers), [list(r) for r in references], accumulate="best", rouge_keys="rougeL"
    )
    most = max(map(len, references))  # sacreBLEU wants the first references of all, then the second
    streams = [[r[i] if i < len(r) else None for r in references] for i in range(most)]
    return {
        Score.EXACT_MATCH: float(found["exact_match"]) / 100,
        Score.F1: float(found["f1"]) / 100,
        Score.ROUGE_L: float(rouge["rougeL_fmeasure"]),
        Score.BLEU: sacrebleu.corpus_bleu(answers, streams).score / 100,
    }
