from __future__ import annotations

from pathlib import Path

import pytest
import torch

from taskdepth.activations.pooling import Pooling
from taskdepth.activations.precision import DTYPES
from taskdepth.activations.store import ActivationStore
from taskdepth.errors import ConfigError, ResultsError

KEY = "ab12"
IDS = [f"row-{i}" for i in range(10)]


def states(n: int = 10) -> dict[Pooling, torch.Tensor]:
    torch.manual_seed(0)
    return {pooling: torch.randn(3, n, 4) for pooling in Pooling}


def fill(store: ActivationStore, n: int = 10, key: str = KEY) -> None:
    recording = store.record(key, IDS[:n], {"task": "t"})
    for rows in recording.missing:
        part = {pooling: full[:, rows.start : rows.stop] for pooling, full in states(n).items()}
        recording.write(rows, part)
    recording.finish()


@pytest.mark.parametrize("n", [0, 1, 4, 10])
@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip(tmp_path: Path, dtype: str, n: int) -> None:
    store = ActivationStore(tmp_path, dtype=dtype, shard_rows=4)
    assert KEY not in store
    fill(store, n)
    assert KEY in store
    back = store.read(KEY)
    assert back.example_ids == tuple(IDS[:n])
    assert set(back.states) == set(Pooling)
    for pooling in Pooling:
        assert back.states[pooling].dtype == torch.float32
        if dtype == "float32":
            assert torch.equal(back.states[pooling], states(n)[pooling])
        assert torch.allclose(back.states[pooling], states(n)[pooling], atol=0.02)


@pytest.mark.parametrize("shard_rows", [4, 1024])
@pytest.mark.parametrize("rows", [None, range(10), [9, 0, 4, 4], []])
@pytest.mark.parametrize("depths", [None, [2], [1, 0]])
def test_parts_are_read_in_the_order_asked_for(
    tmp_path: Path, shard_rows: int, rows: list[int] | None, depths: list[int] | None
) -> None:
    store = ActivationStore(tmp_path, shard_rows=shard_rows)
    fill(store)
    got = store.open(KEY).states(Pooling.MEAN, depths, rows)
    expected = states()[Pooling.MEAN]
    expected = expected if depths is None else expected[depths]
    assert torch.equal(got, expected if rows is None else expected[:, list(rows)])


def test_depths_have_their_own_numbers(tmp_path: Path) -> None:
    store = ActivationStore(tmp_path)
    recording = store.record(KEY, IDS, {}, depths=[0, 8, 16])
    recording.write(range(10), states())
    recording.finish()
    stored = store.open(KEY)
    assert stored.depths == (0, 8, 16)
    assert torch.equal(stored.states(Pooling.MEAN, [16])[0], states()[Pooling.MEAN][2])
    with pytest.raises(ResultsError, match="no states of depth 2"):
        stored.states(Pooling.MEAN, [2])
    with pytest.raises(IndexError, match="rows beyond the 10"):
        stored.states(Pooling.MEAN, rows=[10])


def test_an_absent_pooling_is_named(tmp_path: Path) -> None:
    store = ActivationStore(tmp_path)
    recording = store.record(KEY, IDS, {})
    recording.write(range(10), {Pooling.MEAN: states()[Pooling.MEAN]})
    recording.finish()
    with pytest.raises(ResultsError, match="holds no last_token states"):
        store.open(KEY).states(Pooling.LAST_TOKEN)
    assert Pooling.LAST_TOKEN not in store.read(KEY).states


def test_a_damaged_shard_is_named_with_what_to_do(tmp_path: Path) -> None:
    store = ActivationStore(tmp_path, shard_rows=4)
    with pytest.raises(ResultsError, match="run the extract stage first"):
        store.read(KEY)
    fill(store)
    path = tmp_path / "ab" / KEY / "shard-00001.safetensors"
    whole = path.read_bytes()
    what_to_do = rf"verify --drop --root {tmp_path} {KEY}` and then the extract stage"
    for torn in (whole[:40], b""):
        path.write_bytes(torn)
        assert KEY not in store, "the extract stage goes on with it"
        with pytest.raises(ResultsError, match=r"shard-00001\.safetensors is torn.*" + what_to_do):
            store.read(KEY)
    path.write_bytes(b"\xff" * len(whole))
    with pytest.raises(ResultsError, match=r"shard-00001\.safetensors is damaged.*" + what_to_do):
        store.read(KEY)
    path.write_bytes((path.parent / "shard-00002.safetensors").read_bytes().ljust(len(whole)))
    with pytest.raises(ResultsError, match=r"shard-00001\.safetensors is damaged"):
        store.read(KEY)
    path.write_bytes(whole)
    opened = store.open(KEY)
    path.unlink()
    with pytest.raises(ResultsError, match=r"shard-00001\.safetensors is damaged"):
        opened.states(Pooling.MEAN)
    with pytest.raises(ResultsError, match=r"shard-00001\.safetensors is missing"):
        store.read(KEY)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{", ""),
        ('"format": 2', '"format": 1'),
        ('"row-3",', ""),
        ('"depths"', '"layers"'),
        ('"mean"', '"average"'),
        ('"number": 1', '"number": "1"'),
    ],
)
def test_a_damaged_manifest_is_named(tmp_path: Path, old: str, new: str) -> None:
    store = ActivationStore(tmp_path, shard_rows=4)
    fill(store)
    manifest = tmp_path / "ab" / KEY / "manifest.json"
    manifest.write_text(manifest.read_text().replace(old, new, 1))
    assert KEY not in store
    with pytest.raises(ResultsError, match=r"manifest\.json is damaged"):
        store.read(KEY)


def test_impossible_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="float32, float16, bfloat16, not as int8"):
        ActivationStore(tmp_path, dtype="int8")
    with pytest.raises(ConfigError, match="at least one row"):
        ActivationStore(tmp_path, shard_rows=0)


def resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux only")
def test_one_depth_does_not_load_the_others(tmp_path: Path) -> None:
    store = ActivationStore(tmp_path)
    recording = store.record(KEY, [str(i) for i in range(256)], {})
    recording.write(range(256), {Pooling.MEAN: torch.ones(64, 256, 1024)})  # 64 MB
    recording.finish()
    before = resident_bytes()
    one = store.open(KEY).states(Pooling.MEAN, [40])
    everything = store.read(KEY).states[Pooling.MEAN]  # only mapped as yet
    assert float(everything[3].sum() + one.sum()) == 2 * 256 * 1024
    assert resident_bytes() - before < 16e6
