"""Splits for rows that carry none: by the underlying example, the same in every process."""

from __future__ import annotations

import hashlib
import unicodedata

from taskdepth.errors import ConfigError
from taskdepth.types import Split


def normalised(text: str) -> str:
    """`text` without what does not make it another example: NFKC, case-folded, whitespace collapsed.

    >>> normalised("  Ｉs it\\n TRUE? ")
    'is it true?'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def digest(text: str) -> bytes:
    """16 bytes that stand for the normalised `text`."""
    return hashlib.blake2b(normalised(text).encode("utf-8", "replace"), digest_size=16).digest()


def check_shares(validation: float, test: float) -> None:
    """Refuse shares of rows that cannot be dealt out.

    Raises:
        ConfigError: the shares are negative, or leave nothing to train on.
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise ConfigError(
            f"shares of validation={validation} and test={test} rows leave none to train on"
        )


def split_of(key: str, validation: float = 0.1, test: float = 0.1) -> Split:
    """The split of the underlying example `key`, and of whatever differs from it in spacing or case.

    >>> split_of("The film was good.") == split_of(" the FILM was good. ")
    True
    """
    place = int.from_bytes(digest(key)[:8]) / 2**64
    if place < test:
        return Split.TEST
    return Split.VALIDATION if place < test + validation else Split.TRAIN
