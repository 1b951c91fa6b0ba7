from __future__ import annotations

import pytest

from taskdepth import launching

LOST = RuntimeError(
    "gloo: Read error [127.0.0.1]:40333: Connection reset by peer. This is typically"
)


@pytest.mark.parametrize(
    ("rank", "error", "lost"),
    [
        ("0", LOST, True),
        ("1", RuntimeError("Connection closed by peer [::1]:7"), True),
        ("0", RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (None, LOST, False),  # a process by itself has no peer of this command
    ],
)
def test_a_lost_process_is_told_from_other_errors(
    monkeypatch: pytest.MonkeyPatch, rank: str | None, error: Exception, lost: bool
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
    assert launching.has_lost_another(error) is lost
