from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from taskdepth.activations.pooling import Pooling
from taskdepth.activations.store import Activations, ActivationStore, hash_of_files, key_of
from taskdepth.errors import ResultsError


def activations() -> Activations:
    torch.manual_seed(0)
    return Activations(("a", "b"), {p: torch.randn(3, 2, 4) for p in Pooling})


def key(**changes: Any) -> str:
    given: dict[str, Any] = {
        "model_hash": "m",
        "example_ids": ["a", "b"],
        "prompts": [[1, 2], [3]],
        "poolings": [Pooling.MEAN],
        "dtype": "float32",
        "final_norm": "pre",
    }
    given |= changes
    return key_of(given.pop("model_hash"), given.pop("example_ids"), given.pop("prompts"), **given)


def test_round_trip(tmp_path: Path) -> None:
    store = ActivationStore(tmp_path)
    assert key() not in store
    store.write(key(), activations(), {"task": "t"})
    assert key() in store
    back = store.read(key())
    assert back.example_ids == ("a", "b")
    for pooling in Pooling:
        assert torch.equal(back.states[pooling], activations().states[pooling])


@pytest.mark.parametrize(
    "change",
    [
        {"model_hash": "other"},
        {"example_ids": ["a", "c"]},
        {"prompts": [[1], [2, 3]]},
        {"poolings": [Pooling.LAST_TOKEN]},
        {"dtype": "bfloat16"},
        {"final_norm": "post"},
    ],
)
def test_whatever_decides_the_values_decides_the_key(change: dict[str, Any]) -> None:
    assert key(**change) != key()


def test_the_order_of_poolings_does_not_matter() -> None:
    assert key(poolings=[Pooling.MEAN, Pooling.LAST_TOKEN]) == key(
        poolings=[Pooling.LAST_TOKEN, Pooling.MEAN]
    )


def test_damage_is_named(tmp_path: Path) -> None:
    store = ActivationStore(tmp_path)
    with pytest.raises(ResultsError, match="run the extract stage first"):
        store.read(key())
    store.write(key(), activations(), {})
    tensors = next(tmp_path.rglob("activations.safetensors"))
    whole = tensors.read_bytes()
    for torn in (whole[:40], b"", b"\xff" * 100):
        tensors.write_bytes(torn)
        with pytest.raises(ResultsError, match="is damaged"):
            store.read(key())
    tensors.write_bytes(whole)
    manifest = next(tmp_path.rglob("manifest.json"))
    text = manifest.read_text()
    for spoilt in ("{", "{}", text.replace('"a",', "")):
        manifest.write_text(spoilt)
        with pytest.raises(ResultsError, match="is damaged"):
            store.read(key())


def test_files_are_hashed_by_content_and_name(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder in "ab":
        (tmp_path / folder / "model.safetensors").write_bytes(b"123")
        (tmp_path / folder / "README.md").write_text(folder)
    assert hash_of_files(tmp_path / "a") == hash_of_files(tmp_path / "b")
    (tmp_path / "b" / "config.json").write_text("{}")
    assert hash_of_files(tmp_path / "a") != hash_of_files(tmp_path / "b")
