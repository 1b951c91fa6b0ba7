"""The one error family that users are meant to read: each message is a single, complete line."""


class TaskdepthError(Exception):
    """Something the user can put right; the message says what and how."""


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
