"""How hard a text is to read: the Flesch-Kincaid grade and the Coleman-Liau index, for English.

Words, letters and sentences are counted as textstat 0.7.8 counts them, so that Coleman-Liau is the
same number. Syllables follow spelling rules, not a dictionary: textstat takes the CMU dictionary,
which its newer versions fetch from the network when first used, and which its older ones bring under
the GPL. `docs/paper_figures.md` says how close the rules come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

_SENTENCE = re.compile(r"\b[^.!?]+[.!?]*")
_APOSTROPHE = re.compile(r"'(?!(?:t|s|d|ve|ll|re)\b)")  # one that joins no contraction
_PUNCTUATION = re.compile(r"[^\w\s']")
_NOT_A_LETTER = re.compile(r"[^\w]")
_VOWELS = re.compile(r"[aeiouyà-öø-ÿ]+")
# e at the end (not -le after a consonant), in -es and -ed, before -ly and the like; -ion and -ia
_SILENT = re.compile(
    r"[^aeiouyl]e$|[aeiouy]le$|(?<![cs]h)(?<![aeiouysxzcg])es$|[^aeiouydt]ed$"
    r"|[^aeiouyl]e(?=(?:ly|ful|less|ness|ment)s?$)|[cgstnl]io|[cst]ia"
)
# two vowels that are two syllables
_APART = re.compile(r"i[ao](?!u)|[^q]ua|eo|ea(?=t(?:ed|ing|or|ion))|[eouy]ing|(?<![cst])ient|ism")
MIN_SENTENCE_WORDS = 3  # fewer words make a heading, not a sentence


@dataclass(frozen=True, slots=True)
class TextCounts:
    """What the indices are made of."""

    letters: int
    syllables: int
    words: int
    sentences: int

    @classmethod
    def of(cls, text: str) -> TextCounts:
        """Count; a text with words has at least one sentence.

        >>> TextCounts.of("It rained. The children stayed at home.")
        TextCounts(letters=31, syllables=8, words=7, sentences=1)
        """
        words = _words(text)
        found = _SENTENCE.findall(text)
        short = sum(len(_words(sentence)) < MIN_SENTENCE_WORDS for sentence in found)
        return cls(
            letters=len(_NOT_A_LETTER.sub("", text)),
            syllables=sum(map(count_syllables, words)),
            words=len(words),
            sentences=max(1, len(found) - short) if words else 0,
        )


def flesch_kincaid(counts: TextCounts) -> float:
    """The US school grade at which a text is understood; NaN without words.

    Kincaid et al. 1975, Research Branch Report 8-75.
    """
    if not counts.words:
        return float("nan")
    length, syllables = counts.words / counts.sentences, counts.syllables / counts.words
    return 0.39 * length + 11.8 * syllables - 15.59


def coleman_liau(counts: TextCounts) -> float:
    """The same from letters instead of syllables; NaN without words.

    Coleman & Liau 1975, doi:10.1037/h0076540.
    """
    if not counts.words:
        return float("nan")
    letters, sentences = counts.letters / counts.words, counts.sentences / counts.words
    return 5.8 * letters - 29.6 * sentences - 15.8


INDICES: Mapping[str, Callable[[TextCounts], float]] = {
    "flesch_kincaid": flesch_kincaid,
    "coleman_liau": coleman_liau,
}


def readability(texts: Iterable[str]) -> dict[str, float]:
    """Each index of `INDICES`, averaged over the texts that have words; NaN where none has."""
    counts = [found for found in map(TextCounts.of, texts) if found.words]
    return {
        name: fmean(map(index, counts)) if counts else float("nan")
        for name, index in INDICES.items()
    }


def count_syllables(word: str) -> int:
    """The vowel groups of a word, less those that are silent, more those of two syllables; at least 1.

    >>> [count_syllables(word) for word in ("made", "little", "created", "walked", "judges")]
    [1, 2, 3, 1, 2]
    """
    word = word.lower()
    groups = len(_VOWELS.findall(word))
    return max(1, groups - len(_SILENT.findall(word)) + len(_APART.findall(word)))


def _words(text: str) -> list[str]:
    return _PUNCTUATION.sub("", _APOSTROPHE.sub("", text)).split()
