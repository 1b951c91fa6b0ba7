"""The one error family that users are meant to read: each message is a single, complete line."""

from __future__ import annotations

import errno
import os

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)


class TaskdepthError(Exception):
    r"""Something the user can put right; the message says what and how, on one line.

    It may quote a file from anywhere: what would break the line, or steer a terminal, is told by its code.

    >>> print(DataError("no task ev\u2028il"))
    no task ev\u2028il
    """

    def __str__(self) -> str:
        text = super().__str__()
        if text.isprintable():
            return text
        return "".join(c if c.isprintable() else _told(c) for c in text)


def _told(character: str) -> str:
    return " " if character in "\n\r\t" else character.encode("unicode_escape").decode()


class ConfigError(TaskdepthError):
    """One or more settings are wrong or contradict each other; all of them are listed together."""


class DataError(TaskdepthError):
    """A task, a source or a row cannot be used as it is."""


class ModelError(TaskdepthError):
    """A model, tokenizer or adapter cannot be loaded, or does not fit the request."""


class ResultsError(TaskdepthError):
    """An output folder, a table or a selection is in the way, damaged or meant for something else."""


def first_line(error: Exception) -> str:
    """What a library says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def told_by_the_system(error: BaseException) -> str | None:
    """What a user can put right behind `error`: a disk without room, no right to write; None otherwise.

    Libraries hide the system's answer: in what their error came from, or in its text.

    >>> told_by_the_system(PermissionError(errno.EACCES, "Permission denied", "outputs"))
    'outputs: Permission denied'
    """
    link: BaseException | None = error
    while link is not None:
        number, place = getattr(link, "errno", None), getattr(link, "filename", None)
        if number in NO_ROOM or any(os.strerror(code) in str(link) for code in NO_ROOM):
            where = f" for {place}" if place else ""
            return (
                f"no space left{where}: make room and run the same command again, it goes on from "
                "what was finished"
            )
        if number in NO_RIGHT and place:
            return f"{place}: {os.strerror(number)}"
        link = link.__cause__ or link.__context__
    return None


def nearest(name: str, known: list[str], limit: int = 3) -> str:
    """A hint for a misspelt `name`: the closest `known` names, or all of them when none is close.

    >>> nearest("rtee", ["rte", "sst2", "cb"])
    'did you mean rte?'
    >>> nearest("zzz", ["rte", "cb"])
    'known: cb, rte'
    """
    import difflib

    close = difflib.get_close_matches(name, known, n=limit, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    shown = sorted(known)[:12]
    more = f", … ({len(known)} in all)" if len(known) > len(shown) else ""
    return f"known: {', '.join(shown)}{more}"
