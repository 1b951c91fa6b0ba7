"""Files and folders that are whole or absent: written beside their place, then moved into it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PARTIALS = ".*.partial-*"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path` in one step, and lasts.

    The temporary name is `.NAME.partial-…`, another one for every writer, on whichever machine.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`; on success it takes the place of `path`, with all that is in it.

    A folder that was there goes first: for a moment there is none, but never half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = _partial(path), _partial(path)
    partial.mkdir()
    try:
        yield partial
        for child in sorted(partial.rglob("*")):
            _sync(child)
        _sync(partial)
        if path.exists():
            path.rename(old)
        partial.rename(path)
        _sync(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def remove_partials(folder: Path) -> None:
    """Remove what killed writers left anywhere below `folder`, where nobody else writes now."""
    for path in sorted(folder.rglob(PARTIALS)):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Indented, with non-ASCII text readable; keys keep their order."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")


def _sync(path: Path) -> None:
    """Have the disk hold a file's bytes, or a folder's entries."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
