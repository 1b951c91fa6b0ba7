"""Kills one of the two processes of a command at random moments, starts it again, and compares what it leaves.

    python tests/faults/dying_ranks.py --deaths 9 [--seed 0] [--only tune,probe]

The commands and what must be the same in the end are those of `killing.py`, with `devices=2`; what the first
of them reads is made by one process. torchrun ends the process that is left.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

import killing
from killing import COMPLETE, FailureError, Workplace, compared, undisturbed, write_tasks

from taskdepth import config

N_RANKS = 2
NAMES = ("tune", "controls", "probe")
END_LIMIT_S = 90.0  # for those that are left, after one of them died
WAIT_S = 0.01


class Ranks:
    """A command in `N_RANKS` processes."""

    def __init__(self, place: Workplace, name: str) -> None:
        _, arguments = killing.arguments(place, name)
        script = "probe.py" if name == "probe" else "train.py"
        command = [sys.executable, str(config.root_dir() / script), *arguments]
        source = str(config.root_dir() / "src")
        self._place, self._name = place, name
        self._output = (place.beside / "ranks-output").open("w+b")
        self._launcher = subprocess.Popen(
            [*command, f"devices={N_RANKS}"],
            cwd=place.beside,
            env=os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def begun(self) -> bool:
        """Wait until the command has written something; False if it ended before."""
        before = _files(self._place, self._name)
        while self._launcher.poll() is None:
            if _files(self._place, self._name) != before:
                return True
            time.sleep(WAIT_S)
        return False

    def kill(self, rank: int) -> bool:
        """End one of the processes; False where there is none any more."""
        children = Path(f"/proc/{self._launcher.pid}/task/{self._launcher.pid}/children")
        try:
            for pid in map(int, children.read_text().split()):
                if f"RANK={rank}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(
                    b"\0"
                ):
                    os.kill(pid, signal.SIGKILL)
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return False
        return False

    def end(self, limit_s: float | None = None) -> tuple[int, str]:
        """How it ended, and what it said.

        Raises:
            subprocess.TimeoutExpired: it did not end within `limit_s`.
        """
        code = self._launcher.wait(limit_s)
        self._output.seek(0)
        return code, self._output.read().decode(errors="replace")


def _files(place: Workplace, name: str) -> set[tuple[Path, int]]:
    paths = [path for folder in place.folders(name) for path in folder.rglob("*")]
    found = set()
    for path in paths:
        try:
            found.add((path, path.stat().st_mtime_ns))
        except FileNotFoundError:
            continue  # a temporary file
    return found


def whole(place: Workplace, name: str) -> tuple[dict[str, str], float]:
    """What an undisturbed command leaves, and its seconds from its first file on."""
    running = Ranks(place, name)
    running.begun()
    start_s = time.perf_counter()
    code, output = running.end()
    if code:
        raise FailureError(f"{name} fails by itself:\n{output}")
    return place.results(name), time.perf_counter() - start_s


def disturbed(place: Workplace, name: str, seconds: float, rng: random.Random) -> str | None:
    """Kill one rank, and run the command to its end. What happened; None where it was over before."""
    running, rank, after_s = Ranks(place, name), rng.randrange(N_RANKS), rng.uniform(0, seconds)
    if running.begun():
        time.sleep(after_s)
    was_there = running.kill(rank)
    what = f"rank {rank} dies after {after_s:.2f} s"
    try:
        code, output = running.end(END_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise FailureError(f"{name}, {what}: the other one did not end") from None
    if not was_there or code == 0:
        return None
    if "ended by SIGKILL" not in output or "Traceback" in output:
        raise FailureError(f"{name}, {what}: not told in one line:\n{output}")
    code, output = Ranks(place, name).end()
    if code and COMPLETE not in output:
        raise FailureError(f"{name}, {what}: cannot go on:\n{output[-3000:]}")
    return what


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deaths", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(NAMES))
    asked = parser.parse_args()
    rng, n_deaths, n_problems = random.Random(asked.seed), 0, 0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        place = Workplace(Path(folder).resolve() / "work", Path(folder).resolve())
        write_tasks(place.root / "tasks")
        expected = {}
        for name in ("pre", *NAMES):
            if name == "pre":
                undisturbed(place, name)
                continue
            expected[name] = whole(place, name)
            print(f"{name}: {expected[name][1]:.1f} s", flush=True)
        for name in cycle(asked.only.split(",")):
            if n_deaths >= asked.deaths:
                break
            killing.reset(place, name)
            results, seconds = expected[name]
            try:
                happened = disturbed(place, name, seconds, rng)
                if difference := compared(results, place.results(name)):
                    raise FailureError(f"{name}, {happened}, DIFFERS: {difference}")
            except FailureError as failure:
                n_deaths, n_problems = n_deaths + 1, n_problems + 1
                print(failure, flush=True)
                killing.reset(place, name)
                whole(place, name)  # others read it
            else:
                n_deaths += happened is not None
                print(f"{name}: {happened or 'over before'}, the same in the end", flush=True)
    print(f"{n_deaths} deaths, {n_problems} problems")
    return 1 if n_problems else 0


if __name__ == "__main__":
    sys.exit(main())
