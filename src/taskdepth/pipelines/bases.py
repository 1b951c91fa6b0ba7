"""The base models of a study: found, hashed and loaded once, whoever asks."""

from __future__ import annotations

import gc
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from taskdepth import layers
from taskdepth.activations.key import hash_of_files
from taskdepth.config import ProbeConfig
from taskdepth.data.tokenise import Tokeniser
from taskdepth.errors import ModelError
from taskdepth.models import loading
from taskdepth.models.dispatched import Parts, rests
from taskdepth.models.folder import revision_of
from taskdepth.models.loading import LanguageModel
from taskdepth.models.packing import can_pack
from taskdepth.models.prefix import can_resume
from taskdepth.pipelines.sources import prompt_format
from taskdepth.types import ModelRef


@dataclass(frozen=True, slots=True)
class Loaded:
    """A base model on its device, and what was seen by trying it: may prompts be packed, and blocks skipped?"""

    model: LanguageModel
    can_pack: bool
    can_resume: bool


class Bases:
    """Base models by their folder. One at a time is loaded: the last one that was asked for stays."""

    def __init__(self, config: ProbeConfig) -> None:
        self._config = config
        self.folder_of = cache(self._folder)
        self.revisions: dict[str, str | None] = {}  # of every model that was asked for
        self.hash_of = cache(hash_of_files)
        self.tokeniser_of = cache(self._tokeniser)
        self._resident: tuple[Path, Loaded] | None = None
        self._offloaded = ExitStack()  # the folder for weights of the resident model

    def _folder(self, path: str) -> Path:
        models = self._config.models
        folder = loading.local_folder(path, models.revision, models.trust_remote_code)
        self.revisions[path] = revision_of(folder)
        return folder

    def config_of(self, ref: ModelRef) -> Any:
        """Its Hugging Face config."""
        trust = self._config.models.trust_remote_code
        return loading.load_config(self.folder_of(ref.path), trust_remote_code=trust)

    def load(self, base: Path) -> Loaded:
        """The model of a folder, in eval mode.

        Raises:
            ModelError: it cannot be loaded, or there is no such device.
        """
        if self._resident is None or self._resident[0] != base:
            self.release()  # before the next one comes
            settings = self._config.extraction
            parts = self._parts()
            model = loading.load(
                base,
                dtype=settings.dtype,
                trust_remote_code=self._config.models.trust_remote_code,
                parts=parts,
            )
            if parts is None:
                model.lm.to(_device(settings.accelerator))
            _tell_resting(model.lm)
            self._resident = base, Loaded(model, can_pack(model.lm), can_resume(model.lm))
        return self._resident[1]

    def release(self) -> None:
        """Make room: nothing stays loaded."""
        self._resident = None
        self._offloaded.close()
        if self._config.extraction.device_map is not None:
            gc.collect()  # a model in parts and its hooks hold each other

    def _parts(self) -> Parts | None:
        """None: all of the model lies on one device."""
        settings = self._config.extraction
        if settings.device_map is None:
            return None
        folder = self._offloaded.enter_context(TemporaryDirectory(prefix="taskdepth-offloaded-"))
        limits = settings.max_memory_gib
        return Parts(settings.device_map, Path(folder), limits.gpu, limits.cpu)

    def _tokeniser(self, base: Path) -> Tokeniser:
        trust = self._config.models.trust_remote_code
        tokenizer = loading.load_tokenizer(base, trust_remote_code=trust)
        window = loading.window_tokens(
            loading.load_config(base, trust_remote_code=trust), tokenizer
        )
        data = self._config.data
        return Tokeniser(tokenizer, prompt_format(data), window, data.max_length_tokens)


def _tell_resting(lm: nn.Module) -> None:
    blocks = layers.find_blocks(lm)
    if n_resting := sum(map(rests, blocks)):
        print(
            f"{n_resting} of {len(blocks)} blocks rest in memory or on disk and are fetched for every batch "
            "(extraction.device_map, extraction.batch_tokens)",
            file=sys.stderr,
        )


def _device(accelerator: str) -> torch.device:
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator in ("gpu", "cuda"):
        raise ModelError(f"extraction.accelerator={accelerator}: torch sees no GPU")
    return torch.device("cpu")
