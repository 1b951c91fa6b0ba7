"""Tokens and passwords stay in the environment: never in a config, a log or a report."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

MASK = "***"
_NAMES = re.compile(r"(^|_)(TOKEN|API_?KEY|ACCESS_KEY|SECRET|SECRET_KEY|PASSWORD)$", re.IGNORECASE)
_SHORTEST = 8  # characters; a shorter value says nothing, and could be any word
# a token of the Hugging Face hub or of W&B, and the password in a URL
_LOOKS = re.compile(r"\bhf_[A-Za-z0-9]{20,}|\bwandb_v\d+_\w{20,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")


def masked(text: str) -> str:
    """`text` without credentials.

    >>> masked("model.path=https://me:secret@example.org/model")
    'model.path=https://***@example.org/model'
    """
    for value in _values().values():
        text = text.replace(value, MASK)
    return _LOOKS.sub(MASK, text)


def exposed(content: Any, name: str = "") -> Iterator[str]:
    """One phrase for every setting in `content` that holds a credential, without telling it."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from exposed(key, name)
            yield from exposed(value, f"{name}.{key}" if name else str(key))
    elif isinstance(content, (list, tuple)):
        for i, value in enumerate(content):
            yield from exposed(value, f"{name}[{i}]")
    elif isinstance(content, str) and masked(content) != content:
        of = [variable for variable, value in _values().items() if value in content]
        what = f"the value of {of[0]}" if of else "a token or password"
        yield f"{masked(name)} holds {what}: configs are kept and logged, leave it in the environment"


def _values() -> dict[str, str]:
    """Variable → its secret."""
    return {
        name: value
        for name, value in os.environ.items()
        if _NAMES.search(name) and len(value) >= _SHORTEST
    }
