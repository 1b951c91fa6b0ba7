"""The model that a run of `train.py` starts from: one that exists, or one with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from taskdepth import ranks
from taskdepth.config import ModelConfig, instantiate
from taskdepth.errors import ModelError
from taskdepth.models import loading
from taskdepth.models.loading import LanguageModel
from taskdepth.models.reference import refer
from taskdepth.tasks.spec import Source, TaskSpec
from taskdepth.types import Role, Split


def folder_of(config: ModelConfig) -> Path | None:
    """Where the files of `config.path` lie, fetched if they have to be; None for a random model.

    Raises:
        ModelError: it is an adapter, or cannot be had.
    """
    if config.path is None:
        return None
    ref = refer(config.path, Role.PRETRAINED)
    if ref.adapter is not None:
        raise ModelError(f"model.path={config.path} is an adapter: name the model it belongs to")
    return ranks.first_before_others(
        lambda: loading.local_folder(ref.path, config.revision, config.trust_remote_code)
    )


def count_blocks(config: ModelConfig, folder: Path | None) -> int:
    """L of the model, told by its settings alone."""
    architecture = (
        instantiate(config.architecture)
        if folder is None
        else loading.load_config(folder, trust_remote_code=config.trust_remote_code)
    )
    n_blocks: int = architecture.num_hidden_layers
    return n_blocks


def load(
    config: ModelConfig, folder: Path | None, source: Source, specs: Sequence[TaskSpec]
) -> LanguageModel:
    """The model in `folder`; without one, a random model whose tokenizer is made from the training texts."""
    if folder is not None:
        return loading.load(
            folder,
            dtype=config.dtype,
            trust_remote_code=config.trust_remote_code,
            quantization=config.quantization,
        )
    texts = [*source.plain_text(Split.TRAIN)]
    texts += [
        f"{e.prompt}\n{e.target}" for s in specs for e in source.examples(s.name, Split.TRAIN)
    ]
    return loading.build(instantiate(config.architecture), texts, config.tokenizer_size)
