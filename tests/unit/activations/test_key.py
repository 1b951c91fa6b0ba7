from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taskdepth.activations.key import hash_of_files, key_of
from taskdepth.activations.pooling import Pooling


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


@pytest.mark.parametrize(
    "change",
    [
        {"model_hash": "other"},
        {"example_ids": ["a", "c"]},
        {"prompts": [[1], [2, 3]]},
        {"poolings": [Pooling.LAST_TOKEN]},
        {"dtype": "bfloat16"},
        {"final_norm": "post"},
        {"depths": [0, 2]},
        {"stored_as": "float16"},
    ],
)
def test_whatever_decides_the_values_decides_the_key(change: dict[str, Any]) -> None:
    assert key(**change) != key()


def test_the_order_of_poolings_does_not_matter() -> None:
    assert key(poolings=[Pooling.MEAN, Pooling.LAST_TOKEN]) == key(
        poolings=[Pooling.LAST_TOKEN, Pooling.MEAN]
    )


def test_files_are_hashed_by_content_and_name(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder in "ab":
        (tmp_path / folder / "model.safetensors").write_bytes(b"123")
        (tmp_path / folder / "README.md").write_text(folder)
        (tmp_path / folder / "tokenizer.json").write_text(folder)
    assert hash_of_files(tmp_path / "a") == hash_of_files(tmp_path / "b")
    (tmp_path / "b" / "config.json").write_text("{}")
    assert hash_of_files(tmp_path / "a") != hash_of_files(tmp_path / "b")
