"""How to tell the prompts of FLAN's inverted templates of free-text tasks: they begin or end like this.

Regular expressions for `re.search`. "Which language is this?" and "Write a sentence in Spanish." ask
for no translation, so they count as inverted too. Closed sets and multiple choice need none: an
inverted row's target is not among the answers.
"""

from __future__ import annotations

from collections.abc import Mapping

_NOT_A_TRANSLATION = (r"^Write a sentence not in English\.$", r"\n\nWhich language is this\?$")
_FROM_A_SUMMARY = (
    r"^Write an article based on this summary:",
    r'^Write an article based on this "',
)
INVERTED_CUES: Mapping[str, tuple[str, ...]] = {
    "aeslc": (
        r"^Write an email with the following subject:",
        r'^Write an email with the subject line "',
    ),
    "cnn_dailymail": (
        r"^Write an article using the following points:",
        r"^Use the following highlights to write an article:",
        r"\n\nWrite an article based on these highlights\.$",
    ),
    "gigaword": (r"^Write a sentence based on this summary:", r'^Write a sentence based on "'),
    "multi_news": (r"^Write an article based on this summary:", r"\n\nExpand this summary\.$"),
    "newsroom": (
        r'^Write an article with the title: "',
        r"^Write a title for this article:",
        r"\n\nWrite a title for it\.$",
    ),
    "opinion_abstracts_idebate": (
        r"^What debate topic are the following sentences about\?",
        r"^What is the debate topic for the following sentences\?",
        r"\nCome up with some evidence to support this claim\.$",
        r"\nWhat evidence supports this claim\?$",
    ),
    "opinion_abstracts_rotten_tomatoes": (
        r'^Write an ordered list of reviews about "',
        r"What reviews supported this critic consensus\?$",
        r"^Which movie is the following review about\?",
    ),
    "samsum": (
        r"^Write a dialog about anything you want",
        r"^Write a dialog based on this summary:",
        r'^Write a dialog with this premise "',
    ),
    "wiki_lingua_english_en": _FROM_A_SUMMARY,
    "xsum": _FROM_A_SUMMARY,
    "drop": (
        r"^Write an article that answers the following question:",
        r"^Write a question about the following article:",
        r"\n\nAsk a question about this article\.$",
    ),
    "squad_v1": (r"^Ask a question about [^\n]+\.$", r"^What is the title of this article:"),
    "common_gen": (
        r"^What are the keywords in the following sentence:",
        r"^What are the most important words in the following sentence:",
        r"^Identify the most salient words in this sentence:",
        r"^Generate a sentence, and then tell me the concepts",
    ),
    "dart": (
        r"^What concepts are described in the following sentence\?",
        r"^Create a set of triples that describes the content",
    ),
    "web_nlg_en": (
        r"\n\nWhat data can be extracted from this sentence\?$",
        r"\n\nWhat structured data could we extract from this sentence\?$",
    ),
    "coqa": (r"the following list of answers, write a list of questions\.\n\n",),
    "quac": (r"^Which entity is this text about\?", r"\n\nAsk a question about this article\.$"),
    "true_case": (r"\n\nMake this lower case$",),
    "word_segment": (
        r"\n\nPlease remove spaces between words\.$",
        r"^Remove the spaces from the following sentence:",
    ),
    "para_crawl_enes": (r"^Write a sentence in English\.$", r"^Write a sentence in Spanish\.$"),
    "wmt14_enfr": _NOT_A_TRANSLATION,
    "wmt16_translate_csen": _NOT_A_TRANSLATION,
    "wmt16_translate_deen": _NOT_A_TRANSLATION,
    "wmt16_translate_fien": _NOT_A_TRANSLATION,
    "wmt16_translate_roen": _NOT_A_TRANSLATION,
    "wmt16_translate_ruen": _NOT_A_TRANSLATION,
    "wmt16_translate_tren": _NOT_A_TRANSLATION,
}
