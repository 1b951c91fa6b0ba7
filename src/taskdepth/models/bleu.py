"""BLEU of a corpus, with the numbers of sacreBLEU."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

ORDER = 4
# tokenizer 13a: https://github.com/mjpost/sacrebleu/blob/v2.6.0/sacrebleu/tokenizers/tokenizer_re.py
_ENTITIES = {"&quot;": '"', "&amp;": "&", "&lt;": "<", "&gt;": ">"}
_APART = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),  # symbols and most punctuation
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),  # but not the point and comma of numbers
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


def corpus_bleu(answers: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU from 0 to 1, over all n-grams of all `answers` and each one's `references`.

    Post 2018, arXiv:1804.08771: tokenizer 13a, case kept; of the references' lengths the nearest counts,
    the shorter of two. An order of n-grams without any match counts 1/2, 1/4, … of one (Chen & Cherry 2014,
    method 3); one without any n-gram makes it 0.

    >>> round(corpus_bleu(["a dog sat on the mat"], [["a cat sat on the mat", "a dog"]]), 3)
    0.604
    """
    n_right, n_found = [0] * ORDER, [0] * ORDER
    n_answered = n_wanted = 0
    for answer, right in zip(answers, references, strict=True):
        words, wanted = tokens(answer), [tokens(text) for text in right]
        n_answered += len(words)
        n_wanted += min(map(len, wanted), key=lambda n: (abs(n - len(words)), n))
        for i in range(ORDER):
            found, allowed = _ngrams(words, i + 1), Counter[tuple[str, ...]]()
            for other in wanted:
                allowed |= _ngrams(other, i + 1)
            n_right[i] += (found & allowed).total()
            n_found[i] += found.total()
    if not any(n_right) or not all(n_found):
        return 0.0
    n_without = 0
    log_precision = 0.0
    for right_of, found_of in zip(n_right, n_found, strict=True):
        n_without += right_of == 0
        log_precision += math.log((right_of or 0.5**n_without) / found_of) / ORDER
    return math.exp(min(0.0, 1 - n_wanted / n_answered) + log_precision)


def tokens(text: str) -> list[str]:
    """Tokenizer 13a.

    >>> tokens("It's 1,000.5 (or so).")
    ["It's", '1,000.5', '(', 'or', 'so', ')', '.']
    """
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in _ENTITIES.items():
        text = text.replace(entity, character)
    text = f" {text} "
    for pattern, replacement in _APART:
        text = pattern.sub(replacement, text)
    return text.split()


def _ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
