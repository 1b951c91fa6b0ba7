"""Ends the real commands at chosen points, starts them again, and compares what they leave with whole runs.

    python tests/faults/killing.py --faults 200 [--seed 0] [--only tune,probe]

Everything heavy is imported once; each attempt is a fork that runs the command line's own entry point. What
disturbs it comes at an event of the process (a file opened to be written, a rename, a removal, an fsync, a
training batch, a forward pass of extraction), or, for the signals, also after a time. Each case is a chain of
attempts with the same command, of which every one but the last is disturbed.

kill, term    SIGKILL, SIGTERM
tear          SIGKILL, and the file that was being written is cut in half, as by the machine's end
error         an exception where data is read or written
disk          no file may grow any more
truncate, flip  SIGKILL, and a checkpoint or shard is cut or has a bit flipped
clock         the clock jumps by a day, files seem to be of another time, and SIGKILL comes later
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, NoReturn

import torch

from taskdepth import cli, lock, stopping
from taskdepth.activations import extraction
from taskdepth.data import batches
from taskdepth.pipelines import probe, train  # noqa: F401  (imported here, so that no fork has to)

TASKS = {"mood": ("nli", "no|yes"), "tone": ("sentiment", "bad|good"), "echo": ("misc", "")}
WORDS = ["film", "dog", "cat", "house", "garden", "true", "good", "bad"]
SIGTERM_LIMIT_S = 10
# what may differ between two runs of the same command: clocks
CLOCKS = ("seconds", "tokens_per_s", "command")
NOT_RESULTS = (
    "checkpoints",
    "wandb",
    "streamed",
    lock.NAME,
)  # a dead process's lock holds nobody up

SMALL = [f"model.architecture.{name}={n}" for name, n in {
    "num_hidden_layers": 4, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4,
    "num_key_value_heads": 4, "max_position_embeddings": 128,
}.items()]  # fmt: skip
TRAIN = ["trainer.accelerator=cpu", "trainer.batch_size_examples=4", "optimizer.lr=0.01"]
TRAIN += ["trainer.val_examples_per_task=2", "trainer.log_every_n_steps=2"]
SAVES = ["callbacks.checkpoint.every_n_train_steps=2", "~callbacks.progress"]
LORA = ["adapter=lora", "adapter.blocks=[2,3]", "model.path={root}/outputs/train/pre/model"]
CONTROLS = ["experiment=control_models", *LORA, *TRAIN, "trainer.max_epochs=2"]
STUDY = ["models.pretrained={root}/outputs/train/pre/model", "extraction.accelerator=cpu"]
STUDY += ["models.experimental={root}/outputs/train/tune", "similarity.n_bootstrap=5"]
STUDY += ["models.controls={root}/outputs/train/controls", "similarity.n_shuffles=5"]
STUDY += ["probe.l2s=[1.0,100.0]", "paths.activations={root}/outputs/activations/{name}"]
READ = "paths.activations={root}/outputs/activations/probe"

# in an order in which each finds what it needs
COMMANDS = {
    "pre": (cli.train, ["role=pretrained", *SMALL, *TRAIN, *SAVES, "trainer.max_steps=6"]),
    "tune": (
        cli.train,
        [*LORA, *TRAIN, *SAVES, "adapter.peft.lora_dropout=0.1", "trainer.max_epochs=2"],
    ),
    "controls": (cli.train, CONTROLS),
    "at_once": (cli.train, [*CONTROLS, "control.at_once=2"]),
    "probe": (cli.probe, STUDY),
    "measure": (cli.probe, [*STUDY, READ, "stages=[probe,compare,select,report]"]),
    "keep_none": (cli.probe, [*STUDY, "extraction.keep=none"]),
}
STUDIED = ("pre", "tune", "controls")
NEEDS = {
    **dict.fromkeys(("tune", "controls", "at_once"), ("pre",)),
    **{"probe": STUDIED, "keep_none": STUDIED, "measure": (*STUDIED, "probe")},
}
FAULTS = ("kill", "term", "tear", "error", "disk", "truncate", "flip", "clock")
TIMED = ("kill", "term")  # half of these come after a time and not at an event
COMPLETE = "already holds the results"  # an error that says so
DAY_S = 86_400


@dataclass
class Fault:
    """Something that happens at the `at`-th event of an attempt, or `after_s` seconds."""

    kind: str
    at: int
    after_s: float | None = None

    def __str__(self) -> str:
        return (
            f"{self.kind}@{self.at}" if self.after_s is None else f"{self.kind}@{self.after_s:.2f}s"
        )


@dataclass
class Attempt:
    """How an attempt ended."""

    code: int
    n_events: int
    seconds_after_fault: float
    output: str


class Injector:
    """Counts the events of this process below `root`, and makes the fault happen."""

    def __init__(self, root: Path, fault: Fault | None, report: Path) -> None:
        self._root = str(root)
        self._fault = fault
        self._report = report
        self._last_written = ""
        self._is_busy = False
        self.n = 0

    def install(self) -> None:
        sys.addaudithook(self._audit)
        sync, read = os.fsync, extraction._Reader._read
        iterate = batches.TrainBatches.__iter__

        def fsync(handle: Any) -> None:
            self._event()
            sync(handle)
            if str(Path(f"/proc/self/fd/{handle}").readlink()) == self._last_written:
                self._last_written = ""  # what is on the disk is not torn by the end of a process

        def iterated(loader: Any) -> Iterator[Any]:
            for batch in iterate(loader):
                self._event()
                yield batch

        def forward(*args: Any, **options: Any) -> None:
            self._event()
            read(*args, **options)

        os.fsync = fsync
        batches.TrainBatches.__iter__ = iterated  # type: ignore[method-assign]
        extraction._Reader._read = forward  # type: ignore[method-assign]

    def _audit(self, name: str, args: tuple[Any, ...]) -> None:
        if self._is_busy or not args or not isinstance(args[0], (str, bytes, os.PathLike)):
            return
        path = os.fsdecode(args[0])
        if not path.startswith(self._root):
            return
        if name == "open":
            if not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)):
                return
            self._event()
            self._last_written = path
        elif name in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"):
            self._event()

    def _event(self) -> None:
        self.n += 1
        fault = self._fault
        if fault is None or fault.after_s is not None:
            return
        if fault.kind == "clock" and self.n == 2 * fault.at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.n == fault.at:
            self._is_busy = True
            self._report.write_text(f"{time.time()}")
            self._is_busy = False
            self._act(fault.kind)

    def _act(self, kind: str) -> None:
        if kind == "term":
            os.kill(os.getpid(), signal.SIGTERM)
        elif kind == "error":
            raise OSError(errno.EIO, "injected")
        elif kind == "clock":
            self._jump(DAY_S if self.n % 2 else -DAY_S)
        elif kind == "disk":
            resource.setrlimit(resource.RLIMIT_FSIZE, (256, resource.RLIM_INFINITY))
        else:
            self._is_busy = True
            torn = Path(self._last_written)
            if kind == "tear" and torn.is_file():
                os.truncate(torn, torn.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def _jump(self, by_s: int) -> None:
        real = time.time
        time.time = lambda: real() + by_s
        self._is_busy = True
        for path in Path(self._root).rglob("*"):
            about = path.stat()
            os.utime(path, (about.st_atime - by_s, about.st_mtime - by_s))
        self._is_busy = False


@dataclass
class Workplace:
    """One folder in which commands run; it always has the same name, which some files hold."""

    root: Path
    beside: Path
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)  # by command and kind

    def attempt(self, name: str, fault: Fault | None = None) -> Attempt:
        """Run a command in a fork."""
        report, output = self.beside / "fault-time", self.beside / "output"
        events = self.beside / "events"
        for path in (report, events):
            path.unlink(missing_ok=True)
        pid = os.fork()
        if pid == 0:
            self._run(name, Injector(self.root, fault, report), output, events)
        if fault is not None and fault.after_s is not None:
            self._disturb(pid, fault, report)
        _, status = os.waitpid(pid, 0)
        end = time.time()
        code = os.waitstatus_to_exitcode(status)
        said = output.read_text(encoding="utf-8", errors="replace")
        since = end - float(report.read_text()) if report.exists() else 0.0
        n = int(events.read_text()) if events.exists() else 0
        return Attempt(code, n, since, said)

    def _disturb(self, pid: int, fault: Fault, report: Path) -> None:
        """Send a signal after a time, if it has not ended before."""
        deadline_s = time.monotonic() + (fault.after_s or 0.0)
        while time.monotonic() < deadline_s:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            time.sleep(0.005)
        report.write_text(f"{time.time()}")
        os.kill(pid, signal.SIGTERM if fault.kind == "term" else signal.SIGKILL)

    def _run(self, name: str, injector: Injector, output: Path, events: Path) -> NoReturn:
        code = 1
        try:
            handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            os.chdir(self.beside)
            main, words = arguments(self, name)
            sys.argv = ["train.py", *words]
            injector.install()
            code = _exit_code(main)
        finally:
            injector._is_busy = True
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            events.write_text(str(injector.n))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def results(self, name: str) -> dict[str, str]:
        """File → hash of what must be the same whenever the command was run, however often it was ended."""
        found = {}
        for folder in self.folders(name):
            for path in sorted(folder.rglob("*")):
                parts = path.relative_to(folder).parts
                if path.is_file() and not set(parts) & set(NOT_RESULTS):
                    found[str(path.relative_to(self.root))] = _content_hash(path)
        return found

    def folders(self, name: str) -> list[Path]:
        """What a command writes to."""
        return [self.root / "outputs" / kind / name for kind in ("train", "probe", "activations")]

    def damage(self, name: str, kind: str, rng: random.Random) -> str | None:
        """Truncate a file that is checked when it is read again, or flip one of its bytes."""
        files = [path for folder in self.folders(name) for path in folder.rglob("*.ckpt")]
        for folder in self.folders(name):
            for shard in folder.rglob("shard-*.safetensors"):
                # of a finished recording sizes are looked at, and checksums when they are asked for
                if kind == "truncate" or not (shard.parent / "manifest.json").exists():
                    files.append(shard)
        files = [path for path in sorted(files) if path.stat().st_size > 0]
        if not files:
            return None
        path = rng.choice(files)
        content = bytearray(path.read_bytes())
        if kind == "truncate":
            del content[rng.randrange(len(content)) :]
        else:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        return str(path.relative_to(self.root))


def arguments(place: Workplace, name: str) -> tuple[Callable[[], None], list[str]]:
    """The entry point of a command and its words."""
    main, overrides = COMMANDS[name]
    shared = ["data=folder", f"data.path={place.root}/tasks", f"paths.root={place.root}"]
    shared += [f"name={name}", "logger=none"]
    asked = [o.format(root=place.root, name=name) for o in overrides]
    words = [*(one for one in asked if "experiment=" in one), *shared]
    return main, words + [one for one in asked if "experiment=" not in one]


def _exit_code(main: Callable[[], None]) -> int:
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except Exception:  # noqa: BLE001 (whatever it is, it is told and ends the attempt)
        traceback.print_exc()
        return 1
    return 0


def _content_hash(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".json" and path.parent.name != "model":
        plain = _without_clocks(json.loads(content))
        if path.name == "metrics.json":  # small: a difference is told as it is
            return json.dumps(plain)
        content = json.dumps(plain).encode()
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _without_clocks(content: Any) -> Any:
    if isinstance(content, dict):
        return {k: _without_clocks(v) for k, v in content.items() if k not in CLOCKS}
    return [_without_clocks(v) for v in content] if isinstance(content, list) else content


def write_tasks(folder: Path) -> None:
    folder.mkdir(parents=True)
    lines = ["task\tcluster\tkind\tlabels"]
    for number, (task, (cluster, labels)) in enumerate(TASKS.items()):
        kind = "classification" if labels else "generation"
        lines.append(f"{task}\t{cluster}\t{kind}\t{labels}")
        rows = []
        for i in range(36 + 8 * number):
            word = WORDS[(i * (number + 1) + i // 8) % len(WORDS)]
            label = labels.split("|")[i % 2] if labels else None
            rows.append({
                "example_id": f"{task}-{i}",
                "split": ["train", "train", "validation", "test"][i // 2 % 4],
                "prompt": f"{task}: the {word} {'runs' if i % 2 else 'sleeps'} {i}",
                "targets": [label or word],
                "label": label,
            })  # fmt: skip
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{task}.jsonl").write_text(text)
    (folder / "tasks.tsv").write_text("\n".join(lines) + "\n")


class FailureError(Exception):
    """A run that a fault changed, or that could not go on after one."""


@dataclass
class Whole:
    """A command that nothing disturbed."""

    results: dict[str, str]
    n_events: int
    seconds: float


def undisturbed(place: Workplace, name: str) -> Whole:
    start_s = time.perf_counter()
    whole = place.attempt(name)
    if whole.code != 0:
        raise FailureError(f"{name} fails by itself:\n{whole.output}")
    return Whole(place.results(name), whole.n_events, time.perf_counter() - start_s)


def chosen(kinds: Iterator[str], whole: Whole, share: float, rng: random.Random) -> Fault:
    """The next fault, somewhere in the first `share` of a run."""
    fault = Fault(next(kinds), rng.randint(1, max(2, int(whole.n_events * share))))
    if fault.kind in TIMED and rng.random() < 0.5:
        fault.after_s = rng.uniform(0, whole.seconds * share)
    return fault


def disturbed(
    place: Workplace,
    name: str,
    whole: Whole,
    n_faults: int,
    kinds: Iterator[str],
    rng: random.Random,
) -> list[str]:
    """Run a command with `n_faults` faults, then to its end. Returns what happened."""
    happened = []
    for number in range(n_faults):
        fault = chosen(kinds, whole, 1 / (number + 1), rng)  # later attempts have less to do
        ended = place.attempt(name, fault)
        happened.append(f"{fault}→{ended.code}")
        was_over = ended.seconds_after_fault == 0 and ended.code == 0
        if was_over or COMPLETE in ended.output:
            break
        kind = fault.kind
        if kind in ("truncate", "flip"):
            damaged = place.damage(name, kind, rng)
            happened[-1] += f" ({damaged})"
            kind = kind if damaged else "kill"
        place.counts[name, kind] += 1
        if "Traceback" in ended.output and fault.kind not in ("error", "disk"):
            raise FailureError(f"{name} {happened} left a traceback:\n{ended.output}")
        if fault.kind == "term":
            unheard = (
                -signal.SIGTERM if fault.after_s is not None else 0
            )  # it had not begun to listen
            if ended.code not in (stopping.EXIT_CODE, 0, unheard):
                raise FailureError(f"{name} {happened} does not end by SIGTERM:\n{ended.output}")
            if ended.code == stopping.EXIT_CODE and stopping.MESSAGE not in ended.output:
                raise FailureError(f"{name} {happened} does not say how to go on:\n{ended.output}")
            if ended.seconds_after_fault > SIGTERM_LIMIT_S:
                raise FailureError(f"{name} {happened}: {ended.seconds_after_fault:.1f} s to end")
        if ended.code == 0:
            break
    last = place.attempt(name)
    if last.code != 0 and COMPLETE not in last.output:
        raise FailureError(f"{name} {happened} cannot go on:\n{last.output[-3000:]}")
    return happened


def compared(expected: dict[str, str], found: dict[str, str]) -> str:
    """Which files differ, in one line; empty if none does."""
    names = sorted(expected.keys() | found.keys())
    differing = [name for name in names if expected.get(name) != found.get(name)]
    return "\n  ".join(
        f"{name}: {found.get(name, 'missing')} instead of {expected.get(name, 'nothing')}"
        for name in differing
    )


def reset(place: Workplace, name: str) -> None:
    """Remove what a command has left."""
    for folder in place.folders(name):
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--in-a-row", type=int, default=3)
    parser.add_argument("--only", default=",".join(COMMANDS))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    only = asked.only.split(",")
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        place = Workplace(Path(folder).resolve() / "work", Path(folder).resolve())
        write_tasks(place.root / "tasks")
        expected: dict[str, Whole] = {}
        needed = set(only).union(*(NEEDS.get(name, ()) for name in only))
        for name in (name for name in COMMANDS if name in needed):
            expected[name] = undisturbed(place, name)
            about = expected[name]
            print(f"{name}: {about.n_events} events, {about.seconds:.1f} s", flush=True)
        problems = _disturb_all(place, expected, only, asked)
    for name in only:
        counts = {kind: place.counts[name, kind] for kind in FAULTS if place.counts[name, kind]}
        print(f"{name}: {sum(counts.values())} faults {counts}")
    print(f"{place.counts.total()} faults, {len(problems)} problems")
    return 1 if problems else 0


def _disturb_all(
    place: Workplace, expected: dict[str, Whole], only: list[str], asked: argparse.Namespace
) -> list[str]:
    """Chain after chain, the commands in turn, until there were faults enough. Returns what went wrong."""
    rng, problems = random.Random(asked.seed), list[str]()
    kinds = _in_turn(rng)
    for name in cycle(only):
        left = asked.faults - place.counts.total()
        if left <= 0:
            return problems
        reset(place, name)
        try:
            happened = disturbed(place, name, expected[name], min(left, asked.in_a_row), kinds, rng)
            if difference := compared(expected[name].results, place.results(name)):
                raise FailureError(f"{name} after {happened} DIFFERS: {difference}")
        except FailureError as failure:
            problems.append(str(failure))
            print(failure, flush=True)
        else:
            print(f"{name}: {' '.join(happened)}, and the same in the end", flush=True)
        finally:
            _restore(place, name, expected)
    return problems


def _in_turn(rng: random.Random) -> Iterator[str]:
    """Every kind as often as any other."""
    while True:
        yield from rng.sample(FAULTS, len(FAULTS))


def _restore(place: Workplace, name: str, expected: dict[str, Whole]) -> None:
    """What other commands read must be whole, whatever became of it."""
    if compared(expected[name].results, place.results(name)):
        reset(place, name)
        undisturbed(place, name)


if __name__ == "__main__":
    sys.exit(main())
