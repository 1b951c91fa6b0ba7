from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from taskdepth.activations import shard
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.precision import DTYPES

RECORD = {
    "number": 0,
    "start": 0,
    "stop": 4,
    "dtype": "float32",
    "size_bytes": 10,
    "blake2b": "ab",
}


def states(n: int = 5) -> dict[Pooling, torch.Tensor]:
    torch.manual_seed(n)
    return {pooling: torch.randn(3, n, 7) for pooling in Pooling}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 5])
def test_the_file_is_what_safetensors_reads(tmp_path: Path, dtype: str, n: int) -> None:
    tensors = shard.tensors_of(states(n), dtype)
    record = shard.write(tmp_path, 0, range(n), dtype, tensors)
    read = load_file(tmp_path / "shard-00000.safetensors")
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor) or n == 0
    assert shard.checksum_of(tmp_path / record.name) == record.blake2b
    assert record.problem(tmp_path, checksum=True) is None
    assert shard.shapes(tmp_path / record.name) == dict.fromkeys(Pooling, (3, n, 7))


def test_reading_takes_depths_and_rows_and_cannot_change_the_file(tmp_path: Path) -> None:
    given = states()
    record = shard.write(tmp_path, 0, range(5), "float32", shard.tensors_of(given, "float32"))
    path = tmp_path / record.name
    everything = shard.read(path, Pooling.MEAN, slice(None), slice(None))
    assert torch.equal(everything, given[Pooling.MEAN])
    some = shard.read(path, Pooling.MEAN, [2, 0], [4, 1])
    assert torch.equal(some, given[Pooling.MEAN][[2, 0]][:, [4, 1]])
    everything.zero_()
    assert record.problem(tmp_path, checksum=True) is None


def test_what_is_wrong_with_a_file_is_named(tmp_path: Path) -> None:
    record = shard.write(tmp_path, 2, range(5), "float32", shard.tensors_of(states(), "float32"))
    path = tmp_path / "shard-00002.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert record.problem(tmp_path, checksum=False) is None
    assert "was altered" in str(record.problem(tmp_path, checksum=True))
    path.write_bytes(whole[:-1])
    assert f"torn: {len(whole) - 1} bytes" in str(record.problem(tmp_path, checksum=False))
    path.unlink()
    assert f"{path} is missing" == record.problem(tmp_path, checksum=False)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("junk", [torch.nan, torch.inf])
def test_rows_that_are_no_numbers_are_recorded(tmp_path: Path, dtype: str, junk: float) -> None:
    given = states()
    given[Pooling.MEAN][1, 3, 0] = junk
    given[Pooling.LAST_TOKEN][2, 0, 1] = junk
    tensors = shard.tensors_of(given, dtype)
    record = shard.write(tmp_path, 1, range(10, 15), dtype, tensors)
    assert record.not_finite == (10, 13)
    assert shard.record_of(json.loads(json.dumps(record.content()))) == record
    whole = shard.write(tmp_path, 1, range(5), dtype, shard.tensors_of(states(), dtype))
    assert whole.not_finite == ()
    assert "not_finite" not in whole.content()


BAD_ROWS = ["[4]", "[-1]", '["1"]', "[1.0]", "{}", "null"]
SPOILT = [json.dumps(RECORD)[:-1] + f', "not_finite": {rows}}}' for rows in BAD_ROWS]


@pytest.mark.parametrize("spoilt", ["", "{", "[]", "3", "{}", '{"number": 0}', *SPOILT])
def test_a_record_is_read_or_is_none(tmp_path: Path, spoilt: str) -> None:
    record = shard.ShardRecord(**RECORD)
    path = tmp_path / "shard-00000.json"
    path.write_text(json.dumps(record.content()))
    assert shard.read_record(path) == record
    path.write_text(spoilt)
    assert shard.read_record(path) is None
    path.unlink()
    assert shard.read_record(path) is None
