"""Feeds damaged files to the readers: each must be read soundly, or refused by an error of our own.

make fuzz INPUTS=1000000, or with the coverage of atheris where that is installed:
python tests/fuzz_readers.py --atheris -runs=1000000
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import math
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from taskdepth.activations.manifest import Manifest
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.shard import ShardRecord
from taskdepth.errors import TaskdepthError
from taskdepth.models.reference import refer_controls
from taskdepth.results.depth_maps import DepthMap, DepthMaps
from taskdepth.results.table import LayerTable, Row
from taskdepth.results.task_maps import TaskMaps
from taskdepth.selection.placement import LayerSelection
from taskdepth.selection.regions import Regions
from taskdepth.tasks.folder import FolderSource
from taskdepth.types import Split


class NotSoundError(Exception):
    """A damaged file was taken for a whole one."""


@dataclass(frozen=True, slots=True)
class Reader:
    """`read` gets a path that holds a mutant of one of `seeds`, and looks at what it returns."""

    file: str
    seeds: tuple[bytes, ...]
    read: Callable[[Path], None]
    is_binary: bool = False


def check(is_sound: bool, what: object) -> None:
    if not is_sound:
        raise NotSoundError(str(what)[:500])


def read_rows(path: Path) -> None:
    source = FolderSource(path.parent)
    specs = source.specs()
    check(set(specs) == {path.stem}, specs)
    for split in Split:
        seen = set()
        for example in source.examples(path.stem, split):
            texts = [example.example_id, example.prompt, *example.targets, *(example.options or ())]
            texts += [example.label] if example.label is not None else []
            check(all(type(text) is str for text in texts), example)
            check(all(text.encode("utf-8") is not None for text in texts), example)
            check(
                all(map(str.strip, (example.example_id, example.prompt, *example.targets))), texts
            )
            check(len(example.targets) > 0 and type(example.inverted) is bool, example)
            labels = specs[path.stem].labels
            check(example.label is None or example.label in labels, example)
            check(example.example_id not in seen, example)
            seen.add(example.example_id)


def read_manifest(path: Path) -> None:
    try:
        found = Manifest.read(path.parent)
    except ValueError as error:  # its callers make ResultsError of it: see StoredActivations
        raise TaskdepthError(str(error)) from None
    covered = 0
    for record in found.shards:
        check(record.start == covered <= record.stop, record)
        check(Path(record.name).name == record.name and ".." not in record.name, record.name)
        covered = record.stop
    check(covered == len(found.example_ids), found)
    check(all(type(i) is str for i in found.example_ids), found.example_ids)
    check(all(type(d) is int and d >= 0 for d in found.depths), found.depths)
    check(type(found.d_model) is int and found.d_model > 0, found.d_model)


def read_selection(path: Path) -> None:
    found = LayerSelection.read(path)
    check(all(type(b) is int and 0 <= b < found.n_blocks for b in found.blocks), found)
    check(len(set(found.blocks)) == len(found.blocks) > 0, found)
    check(all(type(t) is str for t in (found.policy, found.reason, found.model)), found)
    if found.regions is not None:
        check(found.regions.n_layers == found.n_blocks, found)
        check(0 <= found.regions.p_value <= 1, found)
        edges = (0, *found.regions.boundaries, found.n_blocks)
        check(list(edges) == sorted(set(edges)), found)
    again = path.with_name("again.yaml")
    found.write(again)
    check(LayerSelection.read(again) == found, found)


def read_table(path: Path) -> None:
    for row in LayerTable.read(path):
        texts = (row.model, row.role, row.task, row.cluster, row.kind, row.name)
        check(all(type(text) is str for text in texts), row)
        check(all(type(number) is int and number >= 0 for number in (row.depth, row.n)), row)
        check(type(row.value) is float, row)
        check(all(type(x) in (float, type(None)) for x in (row.lower, row.upper)), row)
        check(type(row.seed) in (int, type(None)), row)
        check(all(type(x) in (str, type(None)) for x in (row.target, row.reference)), row)


def read_depth_maps(path: Path) -> None:
    for found in DepthMaps.read(path):
        check(found.values.ndim == 2 and found.values.dtype == np.float64, found)
        texts = (found.name, found.task, found.cluster, found.role, found.model, found.reference)
        check(all(type(text) is str for text in texts), found)
        check(type(found.n) is int and type(found.n_tasks) is int, found)


def read_task_maps(path: Path) -> None:
    found = TaskMaps.read(path)
    shape = (len(found.roles), len(found.depths), len(found.tasks), len(found.tasks))
    check(all(tuple(maps.shape) == shape for maps in found.values.values()), found)
    check(all(type(depth) is int for depth in found.depths), found.depths)
    check(all(type(t) is str for t in (*found.roles, *found.tasks, *found.clusters)), found)
    check(len(found.clusters) == len(found.tasks) and type(found.n) is int, found)


def read_controls(path: Path) -> None:
    """Every adapter that is found lies in the folder; only `in` has one, `../out` is a trap."""
    for task in ("a", "b"):
        ref = refer_controls(str(path.parent), [task])[task]
        assert ref.adapter is not None
        check(ref.adapter.is_relative_to(path.parent.resolve()), ref)
        check(type(ref.path) is str, ref)


def readers(folder: Path) -> dict[str, Reader]:
    """The readers with sound files to start from; `folder` is for making those."""
    return {
        "rows": Reader("rte.jsonl", _rows(), read_rows),
        "manifest": Reader("manifest.json", (_manifest(folder),), read_manifest),
        "selection": Reader("selection.yaml", _selections(folder), read_selection),
        "layers": Reader("layers.parquet", (_table(folder),), read_table, is_binary=True),
        "depth_maps": Reader("depth_maps.parquet", (_depths(folder),), read_depth_maps, True),
        "task_maps": Reader("task_maps.safetensors", (_tasks(folder),), read_task_maps, True),
        "controls": Reader("controls.json", (_controls(),), read_controls),
    }


def _rows() -> tuple[bytes, ...]:
    lines = [
        {"example_id": f"e{i}", "split": split, "prompt": "Is it so? ä", "targets": ["yes", "y"]}
        | ({"label": "yes", "options": ["yes", "no"], "inverted": False} if i % 2 else {})
        for i, split in enumerate(("train", "validation", "test", "train"))
    ]
    of_labels = [line | {"label": "yes"} for line in lines]
    return tuple(
        "\n".join(json.dumps(line) for line in each).encode() for each in (lines, of_labels)
    )


def _manifest(folder: Path) -> bytes:
    shards = (ShardRecord(0, 0, 2, "float32", 99, "ab"), ShardRecord(1, 2, 3, "float32", 98, "cd"))
    poolings = (Pooling("last_token"), Pooling("mean"))
    about = {"model": "m", "task": "t"}
    Manifest(about, poolings, (0, 1, 2), 8, "float32", ("a", "b", "c"), shards).write(folder)
    return (folder / "manifest.json").read_bytes()


def _selections(folder: Path) -> tuple[bytes, ...]:
    path = folder / "selection.yaml"
    regions = Regions(8, 3, True, 0.001, (2, 5), ((2, 3), (5, 5)), "steps")
    none = Regions(8, 1, False, 0.4, reason="noise", chosen=True)
    found = []
    for of_regions, ranks in ((None, None), (regions, {3: 4, 4: 8}), (none, None)):
        LayerSelection((3, 4), 8, "manual", "because", "m", of_regions, ranks).write(path)
        found.append(path.read_bytes())
    return tuple(found)


def _table(folder: Path) -> bytes:
    rows = [
        Row("m", "pretrained", "t", "c", depth, "probe", "accuracy", 0.5, 10, target="label")
        for depth in range(3)
    ] + [Row("m", "control", "t", "c", 1, "similarity", "cka", math.nan, 4, lower=0.1, seed=3)]
    LayerTable(rows).write(folder / "layers.parquet")
    return (folder / "layers.parquet").read_bytes()


def _depths(folder: Path) -> bytes:
    values = np.arange(6, dtype=np.float64).reshape(2, 3)
    one = DepthMap("cka", "all", "all", "control", "m", "pretrained", "p", 8, 2, values)
    DepthMaps([one]).write(folder / "depth_maps.parquet")
    return (folder / "depth_maps.parquet").read_bytes()


def _tasks(folder: Path) -> bytes:
    values = {"centroid_cosine": torch.eye(2).expand(1, 3, 2, 2)}
    maps = TaskMaps(("control",), (0, 1, 2), ("a", "b"), ("x", "y"), "mean", 9, values)
    maps.write(folder / "task_maps.safetensors")
    return (folder / "task_maps.safetensors").read_bytes()


def _controls() -> bytes:
    return json.dumps({"controls": {t: {"adapter": "in", "steps": 3} for t in "ab"}}).encode()


def lay_traps(folder: Path) -> None:
    """What `read_controls` finds beside its file: an adapter inside, and one outside."""
    for adapter in (folder / "in", folder.parent / "out"):
        adapter.mkdir(parents=True, exist_ok=True)
        (adapter / "adapter_model.safetensors").write_bytes(b"")
        (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "m"}')


# ---- damage

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**18, 1e308, -0.0, 0.5, "", " ", "a", "train"),
    *("../out", "/etc/passwd", "in/../../out", "\x00", "\ud800", "é" * 99, [], {}, [[]], [None]),
    *(float("nan"), float("inf"), "../" * 9, {"a": {}}, [1, 1], ["yes", "yes"], "null", "*a"),
)
TOKENS = (
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"\n",
        b"\\",
        b"\\ud800",
        b"\xff",
        b"\x00",
        b"null",
    ),
    *(
        b"true",
        b"NaN",
        b"1e999",
        b"-1",
        b"9" * 30,
        b"9" * 5000,
        b"[" * 3000,
        b"&a ",
        b"*a",
        b"!!python",
    ),
    *(
        b"!!python/object/apply:os.system [id]",
        b"? ",
        b"- ",
        b": ",
        b"<<: ",
        b"2001-99-99",
        b"\xef\xbb\xbf",
    ),
    *(
        b"../",
        b"0x10",
        b"1_0",
        b"\r",
        b"\xe2\x80\xa8",
        b"#",
        b"%",
        b"---\n",
        b"|",
        b">",
        b"'",
        b"...\n",
    ),
)


def mutant(reader: Reader, rng: random.Random) -> bytes:
    """A damaged copy of one of the reader's files."""
    data = rng.choice(reader.seeds)
    if not reader.is_binary and rng.random() < 0.5:
        data = _odd_value(data, reader.file, rng)
        if rng.random() < 0.7:
            return data
    for _ in range(1 + int(rng.expovariate(0.7))):
        data = _damaged(data, rng)
    return data


def _damaged(data: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(data) + 1), 1 + int(rng.expovariate(0.2))
    head, cut, tail = data[:at], data[at : at + length], data[at + length :]
    kind = rng.randrange(7)
    if kind == 0 and cut:
        return head + bytes([cut[0] ^ (1 << rng.randrange(8))]) + cut[1:] + tail
    if kind == 1:
        return head + tail
    if kind == 2:
        return head + cut + cut + tail
    if kind == 3:
        return head + rng.choice(TOKENS) + cut + tail
    if kind == 4:
        return head + rng.randbytes(len(cut)) + tail
    if kind == 5:
        return head + rng.choice(TOKENS) + tail
    return head if rng.random() < 0.3 else head + bytes([rng.randrange(256)]) + cut + tail


def _odd_value(data: bytes, file: str, rng: random.Random) -> bytes:
    """One value of the content is replaced by an odd one, or lost: damage that still is JSON or YAML."""
    if file.endswith(".yaml"):
        content = yaml.safe_load(data)
        _replace_one(content, rng)
        return yaml.safe_dump(content, allow_unicode=True).encode("utf-8", "surrogatepass")
    lines = data.split(b"\n") if file.endswith(".jsonl") else [data]
    i = rng.randrange(len(lines))
    content = json.loads(lines[i])
    _replace_one(content, rng)
    lines[i] = json.dumps(content).encode()
    return b"\n".join(lines)


def _replace_one(content: Any, rng: random.Random) -> None:
    places = list(_places(content))
    where, key = rng.choice(places)
    if rng.random() < 0.15:
        del where[key]
    else:
        where[key] = rng.choice(ODD)


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items:
        yield content, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


# ---- running


@dataclass(frozen=True, slots=True)
class Fault:
    """A mutant that was not refused as it should be."""

    reader: str
    data: bytes
    error: str


@dataclass
class Outcome:
    """How many mutants of each reader were accepted and refused; `faults` is what to mend."""

    accepted: Counter[str] = dataclasses.field(default_factory=Counter)
    refused: Counter[str] = dataclasses.field(default_factory=Counter)
    faults: list[Fault] = dataclasses.field(default_factory=list)


def feed(name: str, reader: Reader, data: bytes, folder: Path, outcome: Outcome) -> None:
    """Give one file to one reader."""
    path = folder / name / "run" / reader.file
    path.write_bytes(data)
    try:
        reader.read(path)
    except TaskdepthError as error:
        if len(str(error).splitlines()) == 1:
            outcome.refused[name] += 1
        else:
            outcome.faults.append(Fault(name, data, f"not one line: {error}"))
    except Exception:  # noqa: BLE001 (whatever it is, it is what we look for)
        outcome.faults.append(Fault(name, data, traceback.format_exc(limit=-4)))
    else:
        outcome.accepted[name] += 1


def prepare(folder: Path) -> dict[str, Reader]:
    found = readers(folder)
    for name in found:
        (folder / name / "run").mkdir(parents=True)
    lay_traps(folder / "controls" / "run")
    return found


def fuzz(
    n_inputs: int, seed: int = 0, only: str | None = None, limit_s: float = math.inf
) -> Outcome:
    """Feed `n_inputs` mutants, the same ones for the same seed, until `limit_s` seconds are over."""
    rng, outcome, start_s = random.Random(seed), Outcome(), time.perf_counter()
    with tempfile.TemporaryDirectory(dir=_memory()) as made:
        folder = Path(made)
        found = prepare(folder)
        names = [only] if only else sorted(found)
        for i in range(n_inputs):
            name = names[i % len(names)]
            feed(name, found[name], mutant(found[name], rng), folder, outcome)
            if i % 100 == 0 and time.perf_counter() - start_s > limit_s:
                break
    return outcome


def _memory() -> str | None:
    """A file system in memory, where there is one: a million files need not reach a disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def by_coverage(arguments: list[str]) -> None:
    """The same under atheris, which prefers mutants that reach new lines of the readers."""
    import atheris

    with tempfile.TemporaryDirectory(dir=_memory()) as made:
        folder = Path(made)
        found = prepare(folder)
        names = sorted(found)
        for reader in {reader.read for reader in found.values()}:
            atheris.instrument_func(reader)

        def one(data: bytes) -> None:
            if not data:
                return
            name, outcome = names[data[0] % len(names)], Outcome()
            feed(name, found[name], data[1:], folder, outcome)
            if outcome.faults:
                raise NotSoundError(outcome.faults[0].error)

        corpus = folder / "corpus"
        corpus.mkdir()
        for i, name in enumerate(names):
            for j, seed in enumerate(found[name].seeds):
                (corpus / f"{name}-{j}").write_bytes(bytes([i]) + seed)
        atheris.Setup([sys.argv[0], str(corpus), *arguments], one)
        atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one reader")
    parser.add_argument("--limit-s", type=float, default=math.inf)
    parser.add_argument("--atheris", action="store_true", help="other arguments go to libFuzzer")
    known, others = parser.parse_known_args()
    if known.atheris:
        by_coverage(others)
        return
    start_s = time.perf_counter()
    outcome = fuzz(known.inputs, known.seed, known.only, known.limit_s)
    for name in sorted(outcome.accepted | outcome.refused):
        print(f"{name}: {outcome.refused[name]} refused, {outcome.accepted[name]} read soundly")
    n_inputs = outcome.accepted.total() + outcome.refused.total() + len(outcome.faults)
    seconds = time.perf_counter() - start_s
    print(f"{n_inputs} inputs in {seconds:.0f} s, seed {known.seed}: {len(outcome.faults)} faults")
    kinds = {fault.error.strip().splitlines()[-1][:90]: fault for fault in outcome.faults}
    for fault in list(kinds.values())[:20]:
        print(f"\n{fault.reader}: {fault.data[:300]!r}\n{io.StringIO(fault.error).read()}")
    sys.exit(1 if outcome.faults else 0)


if __name__ == "__main__":
    main()
