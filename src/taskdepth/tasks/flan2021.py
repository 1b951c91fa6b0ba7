"""Stand-in registry of FLAN 2021: replaced on merge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taskdepth.tasks.spec import Kind, TaskSpec


@dataclass(frozen=True, slots=True)
class FlanTask:
    spec: TaskSpec
    in_hub_mirror: bool = True
    inverted_cues: tuple[str, ...] = ()


_ROWS = (
    ("aeslc", "summarization", "generation", ""),
    ("ag_news_subset", "summarization", "classification", "Business|Science/Tech|Sports|World"),
    ("anli_r1", "nli", "classification", "It's impossible to say|No|Yes"),
    ("anli_r2", "nli", "classification", "It's impossible to say|No|Yes"),
    ("anli_r3", "nli", "classification", "It's impossible to say|No|Yes"),
    ("arc_challenge", "closed_book_qa", "multiple_choice", ""),
    ("arc_easy", "closed_book_qa", "multiple_choice", ""),
    ("bool_q", "reading_comprehension", "classification", "no|yes"),
    ("cb", "nli", "classification", "It's impossible to say|No|Yes"),
    ("cnn_dailymail", "summarization", "generation", ""),
    ("cola", "misc", "classification", "acceptable|unacceptable"),
    ("common_gen", "struct_to_text", "generation", ""),
    ("copa", "commonsense", "multiple_choice", ""),
    ("coqa", "misc", "generation", ""),
    ("cosmos_qa", "reading_comprehension_commonsense", "multiple_choice", ""),
    ("dart", "struct_to_text", "generation", ""),
    ("definite_pronoun_resolution", "coreference", "multiple_choice", ""),
    ("drop", "reading_comprehension", "generation", ""),
    ("e2e_nlg", "struct_to_text", "generation", ""),
    ("fix_punct", "misc", "generation", ""),
    ("gigaword", "summarization", "generation", ""),
    ("glue_mrpc", "paraphrase", "classification", "no|yes"),
    ("glue_qqp", "paraphrase", "classification", "no|yes"),
    ("hellaswag", "commonsense", "multiple_choice", ""),
    ("imdb_reviews", "sentiment", "classification", "negative|positive"),
    ("math_dataset", "misc", "generation", ""),
    ("mnli_matched", "nli", "classification", "it is not possible to tell|no|yes"),
    ("mnli_mismatched", "nli", "classification", "it is not possible to tell|no|yes"),
    ("multi_news", "summarization", "generation", ""),
    ("multirc", "reading_comprehension", "classification", "no|yes"),
    ("natural_questions", "closed_book_qa", "generation", ""),
    ("newsroom", "summarization", "generation", ""),
    ("openbookqa", "reading_comprehension", "multiple_choice", ""),
    ("opinion_abstracts_idebate", "summarization", "generation", ""),
    ("opinion_abstracts_rotten_tomatoes", "summarization", "generation", ""),
    ("para_crawl_enes", "translation", "generation", ""),
    ("paws_wiki", "paraphrase", "classification", "no|yes"),
    ("piqa", "commonsense", "multiple_choice", ""),
    ("qnli", "nli", "classification", "no|yes"),
    ("quac", "misc", "generation", ""),
    ("record", "reading_comprehension_commonsense", "multiple_choice", ""),
    ("rte", "nli", "classification", "no|yes"),
    ("samsum", "summarization", "generation", ""),
    ("sentiment140", "sentiment", "classification", "negative|positive"),
    ("snli", "nli", "classification", "it is not possible to tell|no|yes"),
    ("squad_v1", "reading_comprehension", "generation", ""),
    ("squad_v2", "reading_comprehension", "generation", ""),
    ("sst2", "sentiment", "classification", "negative|positive"),
    ("story_cloze", "commonsense", "multiple_choice", ""),
    ("stsb", "paraphrase", "classification", "0|1|2|3|4|5"),
    ("trec", "misc", "classification", "abbreviation|description|entity|human|location|numeric"),
    ("trivia_qa", "closed_book_qa", "generation", ""),
    ("true_case", "misc", "generation", ""),
    ("web_nlg_en", "struct_to_text", "generation", ""),
    ("wic", "misc", "classification", "different meanings|the same meaning"),
    ("wiki_lingua_english_en", "summarization", "generation", ""),
    ("winogrande", "coreference", "multiple_choice", ""),
    ("wmt14_enfr", "translation", "generation", ""),
    ("wmt16_translate_csen", "translation", "generation", ""),
    ("wmt16_translate_deen", "translation", "generation", ""),
    ("wmt16_translate_fien", "translation", "generation", ""),
    ("wmt16_translate_roen", "translation", "generation", ""),
    ("wmt16_translate_ruen", "translation", "generation", ""),
    ("wmt16_translate_tren", "translation", "generation", ""),
    ("wnli", "nli", "classification", "no|yes"),
    ("word_segment", "misc", "generation", ""),
    ("wsc", "coreference", "classification", "no|yes"),
    ("xsum", "summarization", "generation", ""),
    ("yelp_polarity_reviews", "sentiment", "classification", "negative|positive"),
)
_MISSING = {"newsroom", "winogrande", "xsum"}
_CUES = {"aeslc": (r"(?i)^(write|generate|compose) (an )?(example )?e-?mail",)}

FLAN_TASKS: Mapping[str, FlanTask] = {
    name: FlanTask(
        TaskSpec(name, cluster, Kind(kind), tuple(filter(None, labels.split("|")))),
        name not in _MISSING,
        _CUES.get(name, ()),
    )
    for name, cluster, kind, labels in _ROWS
}
