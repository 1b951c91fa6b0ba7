from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from taskdepth.errors import DataError, told_by_the_system
from taskdepth.models.checkpoints import WholeCheckpoints

FULL = Path("/dev/full")  # refuses every byte


@pytest.mark.skipif(not FULL.is_char_device(), reason="Linux only")
def test_a_checkpoint_that_finds_no_room_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file = Path.open
    monkeypatch.setattr(
        Path, "open", lambda p, mode="r": open_file(FULL if "partial" in p.name else p, mode)
    )
    with pytest.raises((OSError, RuntimeError)) as raised:  # torch may hide what the system said
        WholeCheckpoints().save_checkpoint({"weights": torch.zeros(100_000)}, tmp_path / "c.ckpt")
    assert (told_by_the_system(raised.value) or "").startswith("no space left")


def _wrapped(error: Exception) -> Exception:
    try:
        raise RuntimeError("could not save") from error
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "out/x"), "out/x: Read-only file system"),
        (_wrapped(PermissionError(errno.EACCES, "denied", "out")), "out: Permission denied"),
        (OSError(errno.EDQUOT, "quota", "out/x"), "no space left for out/x"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "no space left"),
        (FileNotFoundError(errno.ENOENT, "none", "out"), None),
        (PermissionError("by whom?"), None),
        (ValueError("ours"), None),
    ],
)
def test_only_what_a_user_can_put_right_is_told(error: Exception, told: str | None) -> None:
    found = told_by_the_system(error)
    assert found is None if told is None else (found or "").startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("found two\nlines", "found two lines"),
        ("a\u2028b\x85c", r"a\u2028b\x85c"),
        ("\x1b[2J", r"\x1b[2J"),
        ("größer: 漢字", "größer: 漢字"),
    ],
)
def test_a_message_is_one_line_whatever_it_quotes(text: str, told: str) -> None:
    assert str(DataError(text)) == told
