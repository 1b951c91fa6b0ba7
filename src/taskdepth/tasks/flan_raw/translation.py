"""Cluster translation. FLAN goes both ways; here each task has one direction.

News from other languages is put into English; `wmt14_enfr` and `para_crawl_enes` start from English.
"""

from __future__ import annotations

from taskdepth.tasks.flan_raw.row import Row
from taskdepth.tasks.flan_raw.task import RawExample, RawTask

_LANGUAGES = {
    "cs": "Czech",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fi": "Finnish",
    "fr": "French",
    "ro": "Romanian",
    "ru": "Russian",
    "tr": "Turkish",
}


def _pair(name: str, source: str, target: str) -> RawTask:
    def read(row: Row) -> RawExample:
        text, translated = row.text("translation", source), row.text("translation", target)
        return RawExample({"text": text}, (translated,))

    ours, theirs = _LANGUAGES[source], _LANGUAGES[target]
    templates = (
        f"{ours}: {{text}}\nSay this in {theirs}.",
        f"Put this {ours} text into {theirs}.\n{{text}}",
        f'"{{text}}"\n\nHow is this put in {theirs}?',
    )
    return RawTask(name, read, templates)


TASKS: tuple[RawTask, ...] = (
    _pair("para_crawl_enes", "en", "es"),
    _pair("wmt14_enfr", "en", "fr"),
    *(
        _pair(f"wmt16_translate_{language}en", language, "en")
        for language in ("cs", "de", "fi", "ro", "ru", "tr")
    ),
)
