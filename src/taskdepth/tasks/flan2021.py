"""The 69 tasks of FLAN 2021 as "Layer by Layer" (arXiv:2410.20008) groups them, as a table.

Splits, metrics and template counts are those of FLAN (arXiv:2109.01652,
github.com/google-research/FLAN).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from taskdepth.errors import DataError
from taskdepth.tasks.flan2021_cues import INVERTED_CUES
from taskdepth.tasks.slices import Slice
from taskdepth.tasks.spec import Kind, Score, TaskSpec
from taskdepth.types import Split

# the word in FLAN's task list → what we compute: the first of several, and accuracy on closed sets
SCORES = MappingProxyType(
    {
        "rouge": Score.ROUGE_L,
        "bleu": Score.BLEU,
        "squad_em_f1": Score.F1,
        "trivia_qa_em_f1": Score.F1,
        "record_f1_em": Score.F1,
        "edit_distance": Score.EXACT_MATCH,
        "accuracy(exact_match)": Score.EXACT_MATCH,
        "accuracy": Score.ACCURACY,
        "accuracy+mean_3class_f1": Score.ACCURACY,
        "f1+accuracy": Score.ACCURACY,
        "f1a+exact_match": Score.ACCURACY,
        "pearson+spearman": Score.ACCURACY,
    }
)


@dataclass(frozen=True, slots=True)
class HubDataset:
    """A data set of the Hugging Face hub. `manual`: its files are handed out on request only."""

    path: str
    config: str | None = None
    manual: bool = False


@dataclass(frozen=True, slots=True)
class FlanTask:
    """One task as FLAN builds it.

    `tfds` is the TensorFlow data set that FLAN reads, `slices` which part of it makes each split,
    `hub` the same data on the Hugging Face hub. `n_inverted_templates` counts the templates whose
    target is not the answer (None: not counted); for free text, `inverted_cues` are regular
    expressions that find their prompts. `in_hub_mirror`: Muennighoff/flan on the hub has its rows.

    Raises:
        DataError: the parts contradict each other.
    """

    spec: TaskSpec
    subcluster: str
    metric: str
    tfds: str
    slices: Mapping[Split, Slice]
    hub: HubDataset | None
    n_inverted_templates: int | None
    inverted_cues: tuple[str, ...] = ()
    in_hub_mirror: bool = True
    n_templates: int = 10

    def __post_init__(self) -> None:
        spec, cues = self.spec, self.inverted_cues
        if spec.labels != tuple(sorted(set(spec.labels))):
            raise DataError(f"task {spec.name}: labels must be sorted and unique")
        if bool(spec.labels) != (spec.kind is Kind.CLASSIFICATION):
            raise DataError(f"task {spec.name}: labels belong to classification, and only there")
        if cues and spec.kind is not Kind.GENERATION:
            raise DataError(f"task {spec.name}: cues are for free text only")
        limit = self.n_templates if self.n_inverted_templates is None else self.n_inverted_templates
        if len(set(cues)) != len(cues) or len(cues) > limit:
            raise DataError(f"task {spec.name}: more cues than inverted templates, or one twice")
        for cue in cues:
            try:
                re.compile(cue)
            except re.error as error:
                raise DataError(f"task {spec.name}: cue {cue!r}: {error}") from None

    def is_inverted(self, prompt: str) -> bool:
        """Whether a cue finds `prompt`.

        >>> FLAN_TASKS["true_case"].is_inverted("The Hague\\n\\nMake this lower case")
        True
        """
        return any(re.search(cue, prompt) for cue in self.inverted_cues)


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    metric: str
    hub: HubDataset | None
    n_inverted: int | None
    tfds: str
    splits: str  # train, validation, test
    labels: tuple[str, ...] = ()
    choice: bool = False
    mirrored: bool = True


def _group(cluster: str, subcluster: str, rows: Sequence[_Row]) -> tuple[FlanTask, ...]:
    tasks = []
    for row in rows:
        kind = Kind.MULTIPLE_CHOICE if row.choice else Kind.GENERATION
        kind = Kind.CLASSIFICATION if row.labels else kind
        spec = TaskSpec(row.name, cluster, kind, row.labels, SCORES[row.metric])
        slices = dict(zip(Split, map(Slice.parse, row.splits.split()), strict=True))
        cues = INVERTED_CUES.get(row.name, ())
        tasks.append(
            FlanTask(
                spec, subcluster, row.metric, row.tfds, MappingProxyType(slices), row.hub,
                row.n_inverted, cues, row.mirrored,
            )
        )  # fmt: skip
    return tuple(tasks)


def _by_name(tasks: Sequence[FlanTask]) -> Mapping[str, FlanTask]:
    named = {task.spec.name: task for task in tasks}
    if len(named) != len(tasks):
        raise DataError("two FLAN tasks share a name")
    if unknown := sorted(set(INVERTED_CUES) - set(named)):
        raise DataError(f"cues for unknown tasks: {', '.join(unknown)}")
    return MappingProxyType(named)


_NO_YES = ("no", "yes")
_POLARITY = ("negative", "positive")
_SURE = ("It's impossible to say", "No", "Yes")
_TELL = ("it is not possible to tell", "no", "yes")

# fmt: off
FLAN_TASKS: Mapping[str, FlanTask] = _by_name((
*_group("summarization", "summarization", (
    _Row("aeslc", "rouge", HubDataset("Yale-LILY/aeslc"), 2,
         "aeslc:1.0.0", "train validation[-200:] test"),
    _Row("ag_news_subset", "accuracy", HubDataset("fancyzhx/ag_news"), 2,
         "ag_news_subset:1.0.0", "train[:30000] train[-200:] test",
         labels=("Business", "Science/Tech", "Sports", "World")),
    _Row("cnn_dailymail", "rouge", HubDataset("abisee/cnn_dailymail", "3.0.0"), 3,
         "cnn_dailymail:3.1.0", "train[:30000] validation[:200] test"),
    _Row("gigaword", "rouge", HubDataset("Harvard/gigaword"), 2,
         "gigaword:1.2.0", "train[:30000] validation[:200] test"),
    _Row("multi_news", "rouge", HubDataset("alexfabbri/multi_news"), 2,
         "multi_news:1.0.0", "train[:30000] validation[:200] test"),
    _Row("newsroom", "rouge", HubDataset("lil-lab/newsroom", manual=True), 3,
         "newsroom:1.0.0", "train[:30000] validation[:200] test", mirrored=False),
    _Row("opinion_abstracts_idebate", "rouge", None, 4,
         "opinion_abstracts/idebate:1.0.0", "train[:-600] train[-600:-500] train[-500:]"),
    _Row("opinion_abstracts_rotten_tomatoes", "rouge", None, 3,
         "opinion_abstracts/rotten_tomatoes:1.0.0", "train[:-600] train[-600:-500] train[-500:]"),
    _Row("samsum", "rouge", HubDataset("Samsung/samsum"), 3,
         "samsum:1.0.0", "train validation[:200] test"),
    _Row("wiki_lingua_english_en", "rouge", HubDataset("GEM/wiki_lingua", "en"), 2,
         "gem/wiki_lingua_english_en:1.1.0", "train[:30000] validation[:200] test"),
    _Row("xsum", "rouge", HubDataset("EdinburghNLP/xsum"), 2,
         "huggingface:xsum", "train[:30000] validation[:200] test", mirrored=False),
)),
*_group("nli", "entailment", (
    _Row("anli_r1", "accuracy", HubDataset("facebook/anli", "plain_text"), 1,
         "anli/r1:0.1.0", "train validation[:200] test", labels=_SURE),
    _Row("anli_r2", "accuracy", HubDataset("facebook/anli", "plain_text"), 1,
         "anli/r2:0.1.0", "train[:30000] validation[:200] test", labels=_SURE),
    _Row("anli_r3", "accuracy", HubDataset("facebook/anli", "plain_text"), 1,
         "anli/r3:0.1.0", "train[:30000] validation[:200] test", labels=_SURE),
    _Row("cb", "accuracy+mean_3class_f1", HubDataset("aps/super_glue", "cb"), 1,
         "super_glue/cb:1.0.2", "train[:-50] train[-50:] validation", labels=_SURE),
    _Row("mnli_matched", "accuracy", HubDataset("nyu-mll/glue", "mnli"), 0,
         "glue/mnli:2.0.0", "train[:30000] train[-200:] validation_matched", labels=_TELL),
    _Row("mnli_mismatched", "accuracy", HubDataset("nyu-mll/glue", "mnli"), 0,
         "glue/mnli:2.0.0", "train[:30000] train[-200:] validation_mismatched", labels=_TELL),
    _Row("qnli", "accuracy", HubDataset("nyu-mll/glue", "qnli"), 1,
         "glue/qnli:2.0.0", "train[:30000] train[-200:] validation", labels=_NO_YES),
    _Row("rte", "accuracy", HubDataset("aps/super_glue", "rte"), 1,
         "super_glue/rte:1.0.2", "train[:-200] train[-200:] validation", labels=_NO_YES),
    _Row("snli", "accuracy", HubDataset("stanfordnlp/snli", "plain_text"), 1,
         "snli:1.1.0", "train[:30000] validation[:200] test", labels=_TELL),
    _Row("wnli", "accuracy", HubDataset("nyu-mll/glue", "wnli"), 0,
         "glue/wnli:2.0.0", "train[:-30] train[-30:] validation", labels=_NO_YES),
)),
*_group("closed_book_qa", "open_domain_qa", (
    _Row("arc_challenge", "accuracy", HubDataset("allenai/ai2_arc", "ARC-Challenge"), 3,
         "ai2_arc/ARC-Challenge:1.0.0", "train[:-200] train[-200:] test", choice=True),
    _Row("arc_easy", "accuracy", HubDataset("allenai/ai2_arc", "ARC-Easy"), 3,
         "ai2_arc/ARC-Easy:1.0.0", "train[:-200] train[-200:] test", choice=True),
    _Row("natural_questions", "trivia_qa_em_f1", HubDataset("google-research-datasets/nq_open", "nq_open"), 0,
         "natural_questions_open:1.0.0", "train[:30000] train[-200:] validation"),
    _Row("trivia_qa", "trivia_qa_em_f1", HubDataset("mandarjoshi/trivia_qa", "rc"), 0,
         "trivia_qa/rc:1.1.0", "train[:30000] train[-200:] validation"),
)),
*_group("reading_comprehension", "reading_comprehension", (
    _Row("bool_q", "accuracy", HubDataset("google/boolq"), 0,
         "bool_q:1.0.0", "train[:-200] train[-200:] validation", labels=_NO_YES),
    _Row("drop", "squad_em_f1", HubDataset("ucinlp/drop"), 3,
         "drop:2.0.0", "train[:30000] train[-200:] dev"),
    _Row("multirc", "f1a+exact_match", HubDataset("aps/super_glue", "multirc"), 2,
         "super_glue/multirc:1.0.2", "train[:-200] train[-200:] validation", labels=_NO_YES),
    _Row("openbookqa", "accuracy", HubDataset("allenai/openbookqa", "additional"), 3,
         "openbookqa:0.1.0", "train validation[:200] test", choice=True),
    _Row("squad_v1", "squad_em_f1", HubDataset("rajpurkar/squad", "plain_text"), 2,
         "squad/v1.1:3.0.0", "train[:30000] train[-200:] validation"),
    _Row("squad_v2", "squad_em_f1", HubDataset("rajpurkar/squad_v2", "squad_v2"), 0,
         "squad/v2.0:3.0.0", "train[:30000] train[-200:] validation"),
)),
*_group("misc", "linguistic_acceptability", (
    _Row("cola", "accuracy", HubDataset("nyu-mll/glue", "cola"), 2,
         "glue/cola", "train[:-200] train[-200:] validation", labels=("acceptable", "unacceptable")),
)),
*_group("misc", "conversational_qa", (
    _Row("coqa", "squad_em_f1", HubDataset("stanfordnlp/coqa"), 1,
         "coqa:1.0.0", "train[:-100] train[-100:] test"),
    _Row("quac", "trivia_qa_em_f1", HubDataset("allenai/quac"), 2,
         "quac:1.0.0", "train[:30000] train[-200:] validation"),
)),
*_group("misc", "text_formatting", (
    _Row("fix_punct", "edit_distance", HubDataset("ParaCrawl/para_crawl", "enda"), 0,
         "para_crawl/enda:1.2.0", "train[30200:60200] train[60200:60400] train[-3000:]"),
    _Row("true_case", "edit_distance", HubDataset("ParaCrawl/para_crawl", "enda"), 1,
         "para_crawl/enda:1.2.0", "train[:30000] train[30000:30200] train[-3000:]"),
    _Row("word_segment", "edit_distance", HubDataset("ParaCrawl/para_crawl", "enda"), 2,
         "para_crawl/enda:1.2.0", "train[60400:90400] train[90400:90600] train[-3000:]"),
)),
*_group("misc", "math", (
    _Row("math_dataset", "accuracy(exact_match)", HubDataset("deepmind/math_dataset", "algebra__linear_1d"), 0,
         "math_dataset/algebra__linear_1d:1.0.0", "train[:30000] train[-200:] test"),
)),
*_group("misc", "question_classification", (
    _Row("trec", "accuracy", HubDataset("CogComp/trec"), 1,
         "trec:1.0.0", "train[:-200] train[-200:] test",
         labels=("abbreviation", "description", "entity", "human", "location", "numeric")),
)),
*_group("misc", "word_disambiguation", (
    _Row("wic", "accuracy", HubDataset("aps/super_glue", "wic"), 0,
         "super_glue/wic:1.0.2", "train[:-200] train[-200:] validation",
         labels=("different meanings", "the same meaning")),
)),
*_group("struct_to_text", "structure_to_text", (
    _Row("common_gen", "rouge", HubDataset("GEM/common_gen"), 4,
         "gem/common_gen:1.1.0", "train[:30000] train[-200:] validation"),
    _Row("dart", "rouge", HubDataset("GEM/dart"), 2,
         "gem/dart:1.1.0", "train[:30000] train[-200:] validation"),
    _Row("e2e_nlg", "rouge", HubDataset("GEM/e2e_nlg"), 0,
         "gem/e2e_nlg:1.1.0", "train[:30000] train[-200:] validation"),
    _Row("web_nlg_en", "rouge", HubDataset("GEM/web_nlg", "en"), 2,
         "gem/web_nlg_en:1.1.0", "train[:30000] train[-200:] validation"),
)),
*_group("commonsense", "common_sense", (
    _Row("copa", "accuracy", HubDataset("aps/super_glue", "copa"), 2,
         "super_glue/copa:1.0.2", "train[:-50] train[-50:] validation", choice=True),
    _Row("hellaswag", "accuracy", HubDataset("Rowan/hellaswag"), 0,
         "hellaswag:1.1.0", "train[:30000] train[-200:] validation", choice=True),
    _Row("piqa", "accuracy", HubDataset("ybisk/piqa", "plain_text"), 2,
         "piqa:1.0.0", "train[:-100] train[-100:] validation", choice=True),
    _Row("story_cloze", "accuracy", HubDataset("LSDSem/story_cloze", "2016", manual=True), 2,
         "story_cloze/2016:1.0.0", "validation[:-200] validation[-200:] test", choice=True),
)),
*_group("reading_comprehension_commonsense", "read_comp_and_common_sense", (
    _Row("cosmos_qa", "accuracy", HubDataset("allenai/cosmos_qa"), 2,
         "cosmos_qa:1.0.0", "train[:-200] train[-200:] validation", choice=True),
    _Row("record", "record_f1_em", HubDataset("aps/super_glue", "record"), 0,
         "super_glue/record:1.0.2", "train[:30000] train[-200:] validation", choice=True),
)),
*_group("coreference", "coreference", (
    _Row("definite_pronoun_resolution", "accuracy",
         HubDataset("community-datasets/definite_pronoun_resolution"), 0,
         "definite_pronoun_resolution:1.1.0", "train[:-200] train[-200:] test", choice=True),
    _Row("winogrande", "accuracy", HubDataset("allenai/winogrande", "winogrande_xl"), 0,
         "winogrande:1.1.0", "train_xl[:30000] train_xl[-200:] validation", choice=True, mirrored=False),
    _Row("wsc", "accuracy", HubDataset("aps/super_glue", "wsc.fixed"), 0,
         "super_glue/wsc:1.0.2", "train[:-50] train[-50:] validation", labels=_NO_YES),
)),
*_group("paraphrase", "paraphrase", (
    _Row("glue_mrpc", "f1+accuracy", HubDataset("nyu-mll/glue", "mrpc"), 0,
         "glue/mrpc:2.0.0", "train[:-200] train[-200:] validation", labels=_NO_YES),
    _Row("glue_qqp", "f1+accuracy", HubDataset("nyu-mll/glue", "qqp"), 0,
         "glue/qqp:2.0.0", "train[:30000] train[-200:] validation", labels=_NO_YES),
    _Row("paws_wiki", "accuracy", HubDataset("google-research-datasets/paws", "labeled_final"), 0,
         "paws_wiki:1.1.0", "train[:30000] validation[:200] test", labels=_NO_YES),
    _Row("stsb", "pearson+spearman", HubDataset("nyu-mll/glue", "stsb"), 2,
         "glue/stsb:2.0.0", "train[:-100] train[-100:] validation", labels=("0", "1", "2", "3", "4", "5")),
)),
*_group("sentiment", "sentiment", (
    _Row("imdb_reviews", "accuracy", HubDataset("stanfordnlp/imdb", "plain_text"), 3,
         "imdb_reviews/plain_text:1.0.0", "train[:-200] train[-200:] test", labels=_POLARITY),
    _Row("sentiment140", "accuracy", HubDataset("stanfordnlp/sentiment140", "sentiment140"), 4,
         "sentiment140:1.0.0", "train[:30000] train[-200:] test", labels=_POLARITY),
    _Row("sst2", "accuracy", HubDataset("nyu-mll/glue", "sst2"), 2,
         "glue/sst2:2.0.0", "train[:30000] train[-200:] validation", labels=_POLARITY),
    _Row("yelp_polarity_reviews", "accuracy", HubDataset("fancyzhx/yelp_polarity", "plain_text"), 3,
         "yelp_polarity_reviews:0.2.0", "train[:30000] train[-200:] test", labels=_POLARITY),
)),
*_group("translation", "translation", (
    _Row("para_crawl_enes", "bleu", HubDataset("ParaCrawl/para_crawl", "enes"), None,
         "para_crawl/enes:1.2.0", "train[:30000] train[-1200:-1000] train[-1000:]"),
    _Row("wmt14_enfr", "bleu", HubDataset("wmt/wmt14", "fr-en"), None,
         "wmt14_translate/fr-en:1.0.0", "train[:30000] validation[:200] test"),
    _Row("wmt16_translate_csen", "bleu", HubDataset("wmt/wmt16", "cs-en"), None,
         "wmt16_translate/cs-en:1.0.0", "train[:30000] validation[:200] test"),
    _Row("wmt16_translate_deen", "bleu", HubDataset("wmt/wmt16", "de-en"), None,
         "wmt16_translate/de-en:1.0.0", "train[:30000] validation[:200] test"),
    _Row("wmt16_translate_fien", "bleu", HubDataset("wmt/wmt16", "fi-en"), None,
         "wmt16_translate/fi-en:1.0.0", "train[:30000] validation[:200] test"),
    _Row("wmt16_translate_roen", "bleu", HubDataset("wmt/wmt16", "ro-en"), None,
         "wmt16_translate/ro-en:1.0.0", "train[:30000] validation[:200] test"),
    _Row("wmt16_translate_ruen", "bleu", HubDataset("wmt/wmt16", "ru-en"), None,
         "wmt16_translate/ru-en:1.0.0", "train[:30000] validation[:200] test"),
    _Row("wmt16_translate_tren", "bleu", HubDataset("wmt/wmt16", "tr-en"), None,
         "wmt16_translate/tr-en:1.0.0", "train[:30000] validation[:200] test"),
)),
))
# fmt: on
