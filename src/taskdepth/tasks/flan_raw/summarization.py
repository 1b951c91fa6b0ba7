"""Cluster summarization: the gist of a text, and its topic."""

from __future__ import annotations

from taskdepth.tasks.flan_raw.row import Row
from taskdepth.tasks.flan_raw.task import RawExample, RawTask, classified, free

_TOPICS = ("World", "Sports", "Business", "Science/Tech")
_NEWS = (
    "{document}\n\nSum this up.",
    "Report:\n{document}\n\nWhat is the gist of it?",
    "Tell a busy reader what the following report says.\n\n{document}",
)


def _cnn(row: Row) -> RawExample:
    return RawExample({"document": row.text("article")}, (row.text("highlights"),))


def _newsroom(row: Row) -> RawExample:
    return RawExample(row.texts_of(("title", "text")), (row.text("summary"),))


def _wiki_lingua(row: Row) -> RawExample:
    return RawExample({"document": row.text("source")}, (row.text("target"),))


TASKS: tuple[RawTask, ...] = (
    RawTask(
        "aeslc",
        free(("email_body",), "subject_line"),
        (
            "E-mail:\n{email_body}\n\nGive it a subject.",
            "What should stand in the subject field of this mail?\n\n{email_body}",
            "{email_body}\n\nFind a heading of a few words for the mail above.",
        ),
    ),
    RawTask(
        "ag_news_subset",
        classified(("text",), _TOPICS),
        (
            "News item: {text}\nWhich section of the paper does it belong in?",
            "{text}\n\nFile this story under a heading.",
            "An editor sorts stories by topic. Where does this one go?\n{text}",
        ),
    ),
    RawTask("cnn_dailymail", _cnn, _NEWS),
    RawTask(
        "gigaword",
        free(("document",), "summary"),
        (
            "{document}\n\nWhich headline goes with this?",
            "Shorten this to a headline: {document}",
            "News agency text: {document}\nSay it in under a dozen words.",
        ),
    ),
    RawTask("multi_news", free(("document",), "summary"), _NEWS),
    RawTask(
        "newsroom",
        _newsroom,
        (
            "{title}\n\n{text}\n\nSum this up.",
            "Headline: {title}\nReport: {text}\nWhat is the gist of it?",
            'In brief, what does "{title}" report?\n\n{text}',
        ),
    ),
    RawTask(
        "samsum",
        free(("dialogue",), "summary"),
        (
            "Chat:\n{dialogue}\n\nWhat is it about?",
            "{dialogue}\n\nTell someone who was not there what was said.",
            "Put the gist of this chat into a sentence or two.\n\n{dialogue}",
        ),
        "id",
    ),
    RawTask(
        "wiki_lingua_english_en",
        _wiki_lingua,
        (
            "Instructions:\n{document}\n\nWhat is the short version?",
            "{document}\n\nList the steps above in brief.",
            "Boil this guide down to its main points.\n\n{document}",
        ),
        "gem_id",
    ),
    RawTask("xsum", free(("document",), "summary"), _NEWS, "id"),
)
