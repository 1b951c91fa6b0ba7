from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from taskdepth.errors import ModelError
from taskdepth.models import loading
from taskdepth.models.tokenizer import train_tokenizer
from tiny import TEXTS, tiny_llama


def test_a_saved_model_comes_back_in_eval_mode(tiny_folder: Path) -> None:
    model = loading.load(loading.local_folder(str(tiny_folder)))
    ids = torch.tensor([model.tokenizer("A dog runs")["input_ids"]])
    expected = tiny_llama()
    assert not model.lm.training
    assert torch.equal(model.lm(ids).logits, expected.lm(ids).logits)
    assert model.window_tokens == expected.window_tokens == 128
    assert loading.load(tiny_folder, dtype="bfloat16").lm.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("config.json", "holds no model: there is no config.json"),
        ("tokenizer", "has no tokenizer"),
        ("model.safetensors", "has no safetensors weights"),
    ],
)
def test_what_is_missing_is_named(
    tiny_folder: Path, tmp_path: Path, remove: str, message: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    for path in folder.glob(f"{remove}*"):
        path.unlink()
    with pytest.raises(ModelError, match=message):
        loading.local_folder(str(folder))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("./nowhere", "no model folder at ./nowhere"),
        ("no-one/no-model", "neither a folder nor within reach"),
    ],
)
def test_what_is_not_there_is_named(path: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        loading.local_folder(path)
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_one_line(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="cannot load a causal LM") as caught:
        loading.load(folder)
    assert "\n" not in str(caught.value)


def test_the_trained_tokenizer_is_lossless_and_repeats() -> None:
    first, second = train_tokenizer(TEXTS, 300), train_tokenizer(TEXTS, 300)
    assert first.get_vocab() == second.get_vocab()
    assert len(first) == 300
    for text in (*TEXTS, "Zürich — 東京 🙂\n\ttabs", ""):
        assert first.decode(first(text)["input_ids"]) == text
    assert first("")["input_ids"] == []


def test_the_end_token_has_a_trained_embedding() -> None:
    """A padding index would keep the end token's embedding at zero for ever."""
    model = tiny_llama()
    embedding = model.lm.get_input_embeddings()
    assert embedding.padding_idx is None
    assert embedding.weight[model.tokenizer.eos_token_id].abs().sum() > 0
