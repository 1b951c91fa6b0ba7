from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from taskdepth.activations import shard
from taskdepth.activations.extraction import extract
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.recording import Recording
from taskdepth.activations.store import ActivationStore
from taskdepth.errors import ResultsError

KEY = "cd34"
IDS = [f"row-{i}" for i in range(22)]
ABOUT = {"task": "t", "model": "m"}
POOLINGS = [Pooling.LAST_TOKEN, Pooling.MEAN]


def states(rows: range) -> dict[Pooling, torch.Tensor]:
    everything = torch.randn(3, len(IDS), 4, generator=torch.Generator().manual_seed(0))
    part = everything[:, rows.start : rows.stop]
    return {pooling: part + shift for shift, pooling in enumerate(Pooling)}


def begin(root: Path, dtype: str = "float32") -> Recording:
    return ActivationStore(root, dtype=dtype, shard_rows=4).record(KEY, IDS, ABOUT)


def complete(recording: Recording) -> None:
    for rows in recording.missing:
        recording.write(rows, states(rows))
    recording.finish()


def content(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("whole")
    complete(begin(root))
    return content(root)


def test_a_finished_folder_holds_shards_and_manifest_only(whole: dict[str, bytes]) -> None:
    names = [f"shard-{number:05}.safetensors" for number in range(6)]
    assert set(whole) == {f"cd/{KEY}/{name}" for name in [*names, "manifest.json"]}
    manifest = json.loads(whole[f"cd/{KEY}/manifest.json"])
    assert manifest["depths"] == [0, 1, 2]
    assert [(s["start"], s["stop"]) for s in manifest["shards"]][-2:] == [(16, 20), (20, 22)]


@pytest.mark.parametrize("seed", range(20))
def test_interrupted_anywhere_it_ends_with_the_same_bytes(
    tmp_path: Path, whole: dict[str, bytes], seed: int
) -> None:
    dice = random.Random(seed)
    written: list[range] = []
    while True:
        recording = begin(tmp_path)
        assert not recording.damaged
        assert not set(written) & set(recording.missing), "what was finished is not asked for again"
        left = recording.missing
        for rows in left[: dice.randint(0, 3)]:
            recording.write(rows, states(rows))
            written.append(rows)
        if not recording.missing:
            break
        assert KEY not in ActivationStore(tmp_path)
    if dice.random() < 0.5:
        recording = begin(tmp_path)  # killed before the manifest
        assert not recording.missing
    recording.finish()
    assert content(tmp_path) == whole


def test_order_does_not_matter(tmp_path: Path, whole: dict[str, bytes]) -> None:
    recording = begin(tmp_path)
    for rows in reversed(recording.missing):
        recording.write(rows, states(rows))
    recording.finish()
    assert content(tmp_path) == whole


@pytest.mark.parametrize("n_removed", range(9))
def test_killed_while_it_cleans_up_the_next_one_does(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, n_removed: int
) -> None:
    recording = begin(tmp_path)
    for rows in recording.missing:
        recording.write(rows, states(rows))
    left, unlink = iter(range(n_removed)), Path.unlink

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", unlinked)
        with suppress(KeyboardInterrupt):
            recording.finish()
    store = ActivationStore(tmp_path)
    assert KEY in store
    store.tidy(KEY)
    assert content(tmp_path) == whole


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def altered(path: Path) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 1
    path.write_bytes(damaged)


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("damage", [torn, altered, Path.unlink])
def test_a_damaged_shard_is_found_named_and_redone(
    tmp_path: Path, whole: dict[str, bytes], finished: bool, damage: Callable[[Path], None]
) -> None:
    recording = begin(tmp_path)
    if finished:
        complete(recording)
    else:
        for rows in recording.missing[:4]:
            recording.write(rows, states(rows))
    damage(tmp_path / "cd" / KEY / "shard-00002.safetensors")
    again = begin(tmp_path)
    assert len(again.damaged) == 1
    assert "shard-00002.safetensors" in again.damaged[0]
    assert again.missing == [range(8, 12)] + ([] if finished else [range(16, 20), range(20, 22)])
    assert KEY not in ActivationStore(tmp_path)
    assert begin(tmp_path).missing == again.missing, "a second interruption changes nothing"
    complete(again)
    assert content(tmp_path) == whole


def test_without_a_readable_manifest_all_is_redone(tmp_path: Path, whole: dict[str, bytes]) -> None:
    complete(begin(tmp_path))
    (tmp_path / "cd" / KEY / "manifest.json").write_text("{")
    again = begin(tmp_path)
    assert "manifest.json is damaged" in again.damaged[0]
    assert len(again.missing) == 6
    complete(again)
    assert content(tmp_path) == whole


def test_a_whole_key_is_left_alone_whatever_the_size_of_new_shards(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    complete(begin(tmp_path))
    recording = ActivationStore(tmp_path, shard_rows=5).record(KEY, IDS, ABOUT)
    assert recording.missing == []
    recording.finish()
    assert content(tmp_path) == whole


def test_shards_of_another_layout_or_dtype_are_not_mixed_in(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    for store in (
        ActivationStore(tmp_path, shard_rows=2),
        ActivationStore(tmp_path, shard_rows=4, dtype="float16"),
    ):
        recording = store.record(KEY, IDS, ABOUT)
        for rows in recording.missing[:-1]:
            recording.write(rows, states(rows))
    recording = begin(tmp_path)
    assert len(recording.missing) == 6
    complete(recording)
    assert content(tmp_path) == whole


def test_states_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    recording = begin(tmp_path)
    with pytest.raises(ValueError, match="no range of this recording"):
        recording.write(range(0, 5), states(range(0, 5)))
    with pytest.raises(ValueError, match="5 states for 4 rows"):
        recording.write(range(0, 4), states(range(0, 5)))
    with pytest.raises(ValueError, match="were not written"):
        recording.finish()
    few = ActivationStore(tmp_path, shard_rows=4).record(KEY, IDS, ABOUT, depths=[0, 1])
    with pytest.raises(ValueError, match="3 depths of 2"):
        few.write(range(0, 4), states(range(0, 4)))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_what_is_missing_and_loses_nothing(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    recording = begin(tmp_path)
    first, second = recording.missing[:2]
    recording.write(first, states(first))

    def full(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(shard, "save", full)
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=28))
        # 2 poolings × 3 depths × 18 rows × 4 dimensions × 4 bytes = 1728
        expected = (
            r"18 remaining rows need 2\.6 kB, 28 bytes are free; make at least 2\.6 kB more room"
        )
        with pytest.raises(ResultsError, match=expected):
            recording.write(second, states(second))
    assert not list(tmp_path.rglob(".*partial*"))
    again = begin(tmp_path)
    assert again.missing == recording.missing
    assert first not in again.missing
    complete(again)
    assert content(tmp_path) == whole


def test_other_errors_are_not_taken_for_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "denied")

    recording = begin(tmp_path)
    monkeypatch.setattr(shard, "save", refused)
    with pytest.raises(PermissionError):
        recording.write(range(0, 4), states(range(0, 4)))


FULL = Path("/dev/full")  # refuses every byte


@pytest.mark.skipif(not FULL.exists() or not stat.S_ISCHR(FULL.stat().st_mode), reason="Linux only")
def test_a_disk_that_is_really_full_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def on_full_disk(_: Path) -> Iterator[Path]:
        yield FULL

    recording = begin(tmp_path)
    monkeypatch.setattr(shard, "replacing", on_full_disk)
    with pytest.raises(ResultsError, match="no space left"):
        recording.write(range(0, 4), states(range(0, 4)))


def test_two_processes_may_record_the_same_key(tmp_path: Path, whole: dict[str, bytes]) -> None:
    one, other = begin(tmp_path), begin(tmp_path)
    ranges = one.missing
    for rows in ranges[:3]:
        one.write(rows, states(rows))
        other.write(rows, states(rows))
    for rows in ranges[3:]:
        one.write(rows, states(rows))
    one.finish()
    assert other.missing == []
    for rows in ranges[3:]:
        other.write(rows, states(rows))  # nothing happens any more
    other.finish()
    assert content(tmp_path) == whole


def test_the_manifest_is_true_even_if_two_processes_differ_in_the_last_bit(tmp_path: Path) -> None:
    one, other = begin(tmp_path), begin(tmp_path)
    for rows in one.missing:
        one.write(rows, states(rows))
    rows = range(4, 8)
    other.write(rows, {pooling: tensor + 1e-4 for pooling, tensor in states(rows).items()})
    one.finish()
    assert begin(tmp_path).damaged == ()
    assert KEY in ActivationStore(tmp_path)


def test_finishing_while_another_process_writes(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = begin(tmp_path), begin(tmp_path)
    save = shard.save
    with monkeypatch.context() as patch:

        def overtaken(tensors: dict[str, torch.Tensor], path: Path) -> tuple[int, str]:
            patch.setattr(shard, "save", save)
            written = save(tensors, path)
            complete(one)  # which removes the temporary file of the other
            return written

        patch.setattr(shard, "save", overtaken)
        other.write(range(0, 4), states(range(0, 4)))
    other.finish()
    assert content(tmp_path) == whole


def test_temporary_files_of_the_dead_are_removed(tmp_path: Path, whole: dict[str, bytes]) -> None:
    begin(tmp_path)
    old, new = (
        tmp_path / "cd" / KEY / f".shard-00000.safetensors.partial-{name}" for name in ("1", "2")
    )
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    recording = begin(tmp_path)
    assert not old.exists()
    assert new.exists(), "somebody may be writing it"
    complete(recording)
    assert content(tmp_path) == whole


def extract_into(root: Path, model: Path, pause_seconds: float = 0.0) -> None:
    """Extract 24 prompts in shards of 4."""
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    lm = AutoModelForCausalLM.from_pretrained(model).eval()
    prompts = [[1 + (7 * i + j) % 200 for j in range(3 + i % 5)] for i in range(24)]
    ids = [str(i) for i in range(24)]
    recording = ActivationStore(root, shard_rows=4).record(KEY, ids, ABOUT)
    for rows in recording.missing:
        part = extract(lm, prompts[rows.start : rows.stop], poolings=POOLINGS)
        recording.write(rows, part)
        time.sleep(pause_seconds)
    recording.finish()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_it_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, tiny_folder: Path) -> None:
    extract_into(tmp_path / "whole", tiny_folder)
    command = (
        "import sys; from pathlib import Path; from test_recording import extract_into; "
        "extract_into(*map(Path, sys.argv[1:]), pause_seconds=0.3)"
    )
    paths = [str(Path(__file__).parent), *filter(None, sys.path)]
    process = subprocess.Popen(
        [sys.executable, "-c", command, str(tmp_path / "killed"), str(tiny_folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    folder = tmp_path / "killed" / KEY[:2] / KEY
    until = time.monotonic() + 120
    while not (folder / "shard-00000.json").exists():
        assert process.poll() is None, "the extraction ended without a shard"
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (folder / "manifest.json").exists()
    first = (folder / "shard-00000.safetensors").stat().st_mtime_ns
    extract_into(tmp_path / "killed", tiny_folder)
    assert (folder / "shard-00000.safetensors").stat().st_mtime_ns == first
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
