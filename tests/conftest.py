"""Offline, one thread, shapes checked; and the fixtures that every test shares."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"

from jaxtyping import install_import_hook

# jaxtyping shapes are enforced wherever tensors are handled; types.py imports torch lazily and is not
with install_import_hook(
    [
        f"taskdepth.{p}"
        for p in ("activations", "data", "models", "probing", "selection", "similarity")
    ],
    "beartype.beartype",
):
    import taskdepth.activations.extraction
    import taskdepth.activations.store
    import taskdepth.data.batches
    import taskdepth.models.tuner
    import taskdepth.probing
    import taskdepth.selection
    import taskdepth.similarity  # noqa: F401

from pathlib import Path

import pytest
import torch

from study_files import make_study
from taskdepth import config
from taskdepth.models.loading import LanguageModel
from taskdepth.report.study import Study
from tiny import tiny_llama

config.register()
torch.set_num_threads(1)  # small matrices: a second thread costs more than it brings


@pytest.fixture
def tiny() -> LanguageModel:
    return tiny_llama()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama on disk, as Hugging Face saves it."""
    folder = tmp_path_factory.mktemp("tiny")
    model = tiny_llama()
    model.lm.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def study() -> Study:
    """A study of five tasks in three clusters (not in cluster order) and eight layers, for the report."""
    clusters = {
        "rte": "nli",
        "sst2": "sentiment",
        "cb": "nli",
        "imdb": "sentiment",
        "aeslc": "sums",
    }
    return make_study(clusters, 8, of_tasks=True)
