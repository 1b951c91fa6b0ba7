"""One writer per folder: a file that says who writes there, by process, machine and time."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from taskdepth.errors import ResultsError

NAME = ".lock"


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that writes. `started` tells it from a later one with the same number."""

    host: str
    pid: int
    since: str
    started: str | None

    @classmethod
    def here(cls) -> Owner:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(socket.gethostname(), os.getpid(), now, _started(os.getpid()))

    @property
    def is_dead(self) -> bool:
        """Whether the process has certainly ended; False on another machine, which cannot be asked."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it lives, and is another user's
        return self.started is not None and self.started != _started(self.pid)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Inside, no other process that asks writes into `folder`, which is made if need be.

    What a dead process of this machine left locked is taken over.

    Raises:
        ResultsError: another process is writing there; the message says which.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    own = json.dumps(asdict(Owner.here()))
    with _one_at_a_time(folder):
        _remove_dead(path)
        _create(path, own)
    try:
        yield
    finally:
        # after a false alarm somebody may have removed it by hand, and somebody else come in
        with suppress(FileNotFoundError):
            if path.read_text(encoding="utf-8") == own:
                path.unlink()
        if is_new:
            with suppress(OSError):
                folder.rmdir()  # nothing was written


def _create(path: Path, own: str) -> None:
    """A link appears with its content, and only where there is none: on network folders, too."""
    partial = path.with_name(f"{NAME}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    partial.write_text(own, encoding="utf-8")
    try:
        os.link(partial, path)
    except FileExistsError:
        raise _refused(path) from None
    finally:
        partial.unlink()


def _remove_dead(path: Path) -> None:
    with suppress(FileNotFoundError):
        owner = _read(path)
        if owner is None or not owner.is_dead:
            raise _refused(path)
        path.unlink()


def _refused(path: Path) -> ResultsError:
    owner = _read(path) if path.exists() else None
    who = "another process" if owner is None else f"process {owner.pid} on {owner.host}"
    since = "" if owner is None else f" since {owner.since}"
    return ResultsError(
        f"{path.parent} is being written by {who}{since}: wait for it or choose another name=…; "
        f"if it is surely dead, remove {path}"
    )


def _read(path: Path) -> Owner | None:
    """Who it says; None where that cannot be read."""
    try:
        return Owner(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return None


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Two that find the same dead owner must not remove each other's lock."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network folders know no such locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _started(pid: int) -> str | None:
    """When a process that still runs began, in ticks since the machine did; None where nothing tells."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()  # the name before them may hold anything
    return None if state in "ZX" else fields[18]  # field 22; dead, and only not buried yet
