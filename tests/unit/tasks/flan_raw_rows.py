"""Rows as the raw data sets have them, written by hand, and the answers they should give.

`ROWS[task]` is a list of (row, targets); no targets: the row makes no example.
"""

from __future__ import annotations

from typing import Any

Case = tuple[dict[str, Any], tuple[str, ...]]

_UNSURE, _UNTOLD = "It's impossible to say", "it is not possible to tell"


def _labelled(
    row: dict[str, Any], *names: str, column: str = "label", first: int = 0
) -> list[Case]:
    """`row` once for each class."""
    return [(row | {column: number}, (name,)) for number, name in enumerate(names, start=first)]


_PREMISE = {"premise": "The ferry was cancelled by a storm.", "hypothesis": "The ferry sailed."}
_TWO = {"sentence1": "The shop opens at nine.", "sentence2": "At nine the shop opens.", "idx": 0}
_NEWS = {"document": "A bridge in the old town was closed after cracks were found.", "id": "n1"}
_GEM = {"gem_id": "g-1", "gem_parent_id": "g-1"}


def _anli() -> list[Case]:
    return _labelled({"uid": "u1", **_PREMISE, "reason": ""}, "Yes", _UNSURE, "No")


def _arc() -> list[Case]:
    choices = {"text": ["a lamp", "a stone", "a leaf"], "label": ["A", "B", "C"]}
    row = {"id": "Q_1", "question": "Which of these makes food from light?", "choices": choices}
    numbered = row | {"choices": choices | {"label": ["1", "2", "3"]}}
    return [(row | {"answerKey": "C"}, ("a leaf",)), (numbered | {"answerKey": "2"}, ("a stone",))]


def _translated(one: str, text: str, other: str, translated: str, *target: str) -> list[Case]:
    return [({"translation": {one: text, other: translated}}, target)]


ROWS: dict[str, list[Case]] = {
    # summarization
    "aeslc": [
        ({"email_body": "Please send me the figures by Friday.", "subject_line": "Figures due"},
         ("Figures due",)),
    ],
    "ag_news_subset": _labelled(
        {"text": "Shares rose on Monday."}, "World", "Sports", "Business", "Science/Tech"
    ),
    "cnn_dailymail": [
        ({"article": "(CNN) A long report.", "highlights": "Short .\nShorter .", "id": "c0ffee"},
         ("Short .\nShorter .",)),
    ],
    "gigaword": [
        ({"document": "the bank of japan left rates alone .", "summary": "japan rates unchanged"},
         ("japan rates unchanged",)),
    ],
    "multi_news": [
        ({"document": "One source. ||||| Another source.", "summary": "– Both sources agree."},
         ("– Both sources agree.",)),
    ],
    "newsroom": [
        ({"text": "Rain fell all week.", "title": "Wet week", "summary": "It rained.",
          "url": "http://example.org", "date": "2015", "density_bin": "low"},
         ("It rained.",)),
    ],
    "samsum": [
        ({"id": "13818513", "dialogue": "Ann: Tea?\r\nBob: Yes!", "summary": "Bob wants tea."},
         ("Bob wants tea.",)),
    ],
    "wiki_lingua_english_en": [
        ({**_GEM, "source_language": "en", "target_language": "en", "source": "Boil the water. Wait.",
          "target": "Boil it.", "references": ["Boil it."]},
         ("Boil it.",)),
    ],
    "xsum": [({**_NEWS, "summary": "A cracked bridge is shut."}, ("A cracked bridge is shut.",))],
    # nli
    "anli_r1": _anli(),
    "anli_r2": _anli(),
    "anli_r3": _anli(),
    "cb": _labelled({**_PREMISE, "idx": 0}, "Yes", "No", _UNSURE),
    "mnli_matched": _labelled({**_PREMISE, "idx": 0}, "yes", _UNTOLD, "no"),
    "mnli_mismatched": _labelled({**_PREMISE, "idx": 0}, "yes", _UNTOLD, "no"),
    "qnli": _labelled(
        {"question": "Where is the tower?", "sentence": "It stands in Pisa.", "idx": 0}, "yes", "no"
    ),
    "rte": _labelled({**_PREMISE, "idx": 0}, "yes", "no"),
    "snli": [(_PREMISE | {"label": -1}, ()), *_labelled(_PREMISE, "yes", _UNTOLD, "no")],
    "wnli": _labelled(_TWO, "no", "yes"),
    # closed_book_qa
    "arc_challenge": _arc(),
    "arc_easy": _arc(),
    "natural_questions": [
        ({"question": "when did the wall come down", "answer": ["1989", "in 1989"]},
         ("1989", "in 1989")),
    ],
    "trivia_qa": [
        ({"question": "Which river runs through Paris?", "question_id": "tc_1",
          "question_source": "http://example.org", "entity_pages": {"title": []},
          "search_results": {"title": []},
          "answer": {"aliases": ["La Seine", "Seine"], "value": "Seine",
                     "normalized_aliases": ["la seine"], "normalized_value": "seine",
                     "matched_wiki_entity_name": "", "type": "WikipediaEntity"}},
         ("Seine", "La Seine")),
    ],
    # reading_comprehension
    "bool_q": [
        ({"question": "is the sea salty", "answer": True, "passage": "Sea water holds salt."},
         ("yes",)),
        ({"question": "is the sea sweet", "answer": False, "passage": "Sea water holds salt."},
         ("no",)),
    ],
    "drop": [
        ({"section_id": "nfl_1", "query_id": "q-1", "passage": "They scored 3, then 4.",
          "question": "How many in all?",
          "answers_spans": {"spans": ["7", "7"], "types": ["number", "number"]}},
         ("7",)),
    ],
    "multirc": _labelled(
        {"paragraph": "Tim ran home.", "question": "Who ran?", "answer": "Tim",
         "idx": {"paragraph": 0, "question": 0, "answer": 0}},
        "no", "yes",
    ),
    "openbookqa": [
        ({"id": "7-980", "question_stem": "The sun is responsible for",
          "choices": {"text": ["plants growing", "puppies"], "label": ["A", "B"]},
          "answerKey": "A", "fact1": "the sun gives energy", "humanScore": 1.0, "clarity": 2.0,
          "turkIdAnonymized": "b1"},
         ("plants growing",)),
    ],
    "squad_v1": [
        ({"id": "s1", "title": "Oslo", "context": "Oslo lies in Norway.",
          "question": "Where is Oslo?",
          "answers": {"text": ["Norway", "in Norway", "Norway"], "answer_start": [13, 10, 13]}},
         ("Norway", "in Norway")),
    ],
    "squad_v2": [
        ({"id": "s1", "title": "Oslo", "context": "Oslo lies in Norway.",
          "question": "Where is Oslo?", "answers": {"text": ["Norway"], "answer_start": [13]}},
         ("Norway",)),
        ({"id": "s2", "title": "Oslo", "context": "Oslo lies in Norway.",
          "question": "Who founded it?", "answers": {"text": [], "answer_start": []}},
         ("unanswerable",)),
    ],
    # misc
    "cola": _labelled(
        {"sentence": "Herself ran the.", "idx": 0}, "unacceptable", "acceptable"
    ),
    "coqa": [
        ({"source": "mctest", "story": "A hen laid an egg.", "questions": ["Who laid it?", "What?"],
          "answers": {"input_text": ["a hen", "an egg"], "answer_start": [0, 6],
                      "answer_end": [5, 17]}},
         ("a hen",)),
    ],
    "fix_punct": [
        *_translated("en", "Wait, please.", "da", "Vent.", "Wait, please."),
        *_translated("en", "No marks", "da", "Ingen"),
    ],
    "math_dataset": [
        ({"question": "b'Solve 24 = 1601*c - 1605*c for c.\\n'", "answer": "b'-6\\n'"}, ("-6",)),
        ({"question": "Solve 2*x = 4 for x.", "answer": "2"}, ("2",)),
    ],
    "quac": [
        ({"dialogue_id": "C_1", "wikipedia_page_title": "Bach", "background": "A composer.",
          "section_title": "Life", "context": "Bach was a cantor. He lived in Leipzig. CANNOTANSWER",
          "turn_ids": ["C_1_q#0", "C_1_q#1"], "questions": ["Where did he live?", "Why?"],
          "followups": [0, 1], "yesnos": [2, 2],
          "answers": {"texts": [["He lived in Leipzig."], ["CANNOTANSWER"]],
                      "answer_starts": [[19], [40]]},
          "orig_answers": {"texts": ["He lived in Leipzig.", "CANNOTANSWER"],
                           "answer_starts": [19, 40]}},
         ("He lived in Leipzig.",)),
        ({"dialogue_id": "C_2", "wikipedia_page_title": "Bach", "background": "A composer.",
          "section_title": "Life", "context": "Bach was a cantor. He lived in Leipzig. CANNOTANSWER",
          "turn_ids": ["C_2_q#0"], "questions": ["Was he tall?"], "followups": [0], "yesnos": [2],
          "answers": {"texts": [["CANNOTANSWER", "CANNOTANSWER"]], "answer_starts": [[40, 40]]},
          "orig_answers": {"texts": ["CANNOTANSWER"], "answer_starts": [40]}},
         ("unanswerable",)),
    ],
    "trec": _labelled(
        {"text": "What does it say ?", "fine_label": 0},
        "abbreviation", "entity", "description", "human", "location", "numeric",
        column="coarse_label",
    ),
    "true_case": [
        *_translated("en", "Anna lives in Rome.", "da", "Anna bor i Rom.", "Anna lives in Rome."),
        *_translated("en", "all small", "da", "småt"),
    ],
    "wic": _labelled(
        {"word": "bank", "sentence1": "The river bank.", "sentence2": "A bank loan.", "start1": 10,
         "start2": 2, "end1": 14, "end2": 6, "idx": 0},
        "different meanings", "the same meaning",
    ),
    "word_segment": [
        *_translated("en", "Two words", "da", "To ord", "Two words"),
        *_translated("en", "One", "da", "En"),
    ],
    # struct_to_text
    "common_gen": [
        ({**_GEM, "concept_set_id": 0, "concepts": ["ski", "mountain"],
          "target": "He skis down.", "references": []},
         ("He skis down.",)),
        ({**_GEM, "gem_id": "g-2", "concept_set_id": 1, "concepts": ["dog", "run"], "target": "A dog ran.",
          "references": ["A dog ran.", "Dogs run."]},
         ("A dog ran.", "Dogs run.")),
    ],
    "dart": [
        ({**_GEM, "dart_id": 0, "tripleset": [["Mars Hill", "JOINED", "1973"], ["a", "b", "c"]],
          "subtree_was_extended": True, "target_sources": ["x"], "target": "It joined in 1973.",
          "references": ["It joined in 1973."]},
         ("It joined in 1973.",)),
    ],
    "e2e_nlg": [
        ({**_GEM, "meaning_representation": "name[Blue Spice], area[riverside]",
          "target": "Blue Spice is by the river.", "references": []},
         ("Blue Spice is by the river.",)),
    ],
    "web_nlg_en": [
        ({**_GEM, "input": ["Aarhus | leader | Jacob"], "target": "Jacob leads Aarhus.",
          "references": ["Jacob leads Aarhus."], "category": "Airport", "webnlg_id": "train/1"},
         ("Jacob leads Aarhus.",)),
    ],
    # commonsense
    "copa": [
        ({"premise": "The glass broke.", "choice1": "It fell.", "choice2": "It was clean.",
          "question": "cause", "idx": 0, "label": 0},
         ("It fell.",)),
        ({"premise": "He lost a bet.", "choice1": "He sang.", "choice2": "He paid.",
          "question": "effect", "idx": 1, "label": 1},
         ("He paid.",)),
    ],
    "hellaswag": [
        ({"ind": 4, "activity_label": "Roof work", "ctx_a": "A man sits on a roof.", "ctx_b": "he",
          "ctx": "A man sits on a roof. he", "endings": ["sleeps.", "pulls tiles.", "flies.", "x."],
          "source_id": "a~1", "split": "train", "split_type": "indomain", "label": "1"},
         ("pulls tiles.",)),
    ],
    "piqa": [
        ({"goal": "Cool a drink", "sol1": "Add ice.", "sol2": "Add salt.", "label": 0}, ("Add ice.",)),
    ],
    "story_cloze": [
        ({"story_id": "st1", "input_sentence_1": "Rick grew up.", "input_sentence_2": "He left.",
          "input_sentence_3": "He met Jo.", "input_sentence_4": "They talked.",
          "sentence_quiz1": "They became friends.", "sentence_quiz2": "The car sank.",
          "answer_right_ending": 1},
         ("They became friends.",)),
    ],
    # reading_comprehension_commonsense
    "cosmos_qa": [
        ({"id": "3Q9##1", "context": "I packed my bags.", "question": "What next?",
          "answer0": "I travel.", "answer1": "I cook.", "answer2": "I swim.",
          "answer3": "None of the above choices .", "label": 0},
         ("I travel.",)),
    ],
    "record": [
        ({"passage": "Ann met Bob in Rome.\n@highlight\nThey ate", "query": "@placeholder paid",
          "entities": ["Ann", "Bob", "Rome"], "entity_spans": {"text": [], "start": [], "end": []},
          "answers": ["Bob"], "idx": {"passage": 0, "query": 0}},
         ("Bob",)),
    ],
    # coreference
    "definite_pronoun_resolution": [
        ({"sentence": "The bee landed on the flower because it had pollen.", "pronoun": "it",
          "candidates": ["The bee", "the flower"], "label": 1},
         ("the flower",)),
    ],
    "winogrande": [
        ({"sentence": "Ann gave Eve help because _ was stuck.", "option1": "Ann", "option2": "Eve",
          "answer": "2"},
         ("Eve",)),
    ],
    "wsc": _labelled(
        {"text": "Mark told Pete lies about himself.", "span1_index": 0, "span2_index": 5,
         "span1_text": "Mark", "span2_text": "himself", "idx": 0},
        "no", "yes",
    ),
    # paraphrase
    "glue_mrpc": _labelled(_TWO, "no", "yes"),
    "glue_qqp": _labelled(
        {"question1": "How do I cook rice?", "question2": "How is rice cooked?", "idx": 0}, "no", "yes"
    ),
    "paws_wiki": _labelled(
        {"id": 1, "sentence1": "A met B.", "sentence2": "B met A."}, "no", "yes"
    ),
    "stsb": [
        (_TWO | {"label": 0.0}, ("0",)), (_TWO | {"label": 1.2}, ("1",)),
        (_TWO | {"label": 2.1}, ("2",)), (_TWO | {"label": 3.4}, ("3",)),
        (_TWO | {"label": 3.8}, ("4",)), (_TWO | {"label": 5.0}, ("5",)),
    ],
    # sentiment
    "imdb_reviews": _labelled({"text": "I saw it twice."}, "negative", "positive"),
    "sentiment140": [
        ({"text": "so tired", "date": "Mon", "user": "a", "sentiment": 0, "query": "NO_QUERY"},
         ("negative",)),
        ({"text": "at home", "date": "Mon", "user": "a", "sentiment": 2, "query": "x"}, ()),
        ({"text": "sunny day", "date": "Mon", "user": "a", "sentiment": 4, "query": "x"},
         ("positive",)),
    ],
    "sst2": _labelled({"sentence": "a film of its time ", "idx": 0}, "negative", "positive"),
    "yelp_polarity_reviews": _labelled({"text": "We waited an hour."}, "negative", "positive"),
    # translation
    "para_crawl_enes": _translated("en", "Good day", "es", "Buenos días", "Buenos días"),
    "wmt14_enfr": _translated("fr", "Bonjour", "en", "Good day", "Bonjour"),
    "wmt16_translate_csen": _translated("cs", "Dobrý den", "en", "Good day", "Good day"),
    "wmt16_translate_deen": _translated("de", "Guten Tag", "en", "Good day", "Good day"),
    "wmt16_translate_fien": _translated("fi", "Hyvää päivää", "en", "Good day", "Good day"),
    "wmt16_translate_roen": _translated("ro", "Bună ziua", "en", "Good day", "Good day"),
    "wmt16_translate_ruen": _translated("ru", "Добрый день", "en", "Good day", "Good day"),
    "wmt16_translate_tren": _translated("tr", "İyi günler", "en", "Good day", "Good day"),
}  # fmt: skip
