"""Doctests in docstrings as code blocks; Markdown would take their `>>>` for quotations."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import griffe


class Doctests(griffe.Extension):
    """Loaded by mkdocstrings, which hands it every object that it reads."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    """`text` with its doctests, which end at an empty line, between fences."""
    paragraphs = (list(lines) for _, lines in groupby(text.splitlines(), key=bool))
    return "\n".join(
        "\n".join(["```pycon", *lines, "```"] if lines[0].startswith(">>>") else lines)
        for lines in paragraphs
    )
