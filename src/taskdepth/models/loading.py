"""Models and tokenizers: from a folder, from the hub, or built from a config."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from taskdepth.errors import ModelError
from taskdepth.models.tokenizer import train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# our own progress is shown instead of one bar per file
transformers.utils.logging.disable_progress_bar()

UNLIMITED_TOKENS = 1_000_000  # tokenizers without a limit say 1e30


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A causal LM with its tokenizer. `path` is where it came from, None when it was built here."""

    lm: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    path: str | None

    @property
    def window_tokens(self) -> int:
        """The longest sequence that the model takes."""
        config = self.lm.config
        position_limit = getattr(config, "max_position_embeddings", None) or UNLIMITED_TOKENS
        return int(min(position_limit, self.tokenizer.model_max_length, UNLIMITED_TOKENS))


def load(
    path: str, *, dtype: str = "float32", revision: str | None = None, trust_remote_code: bool = False
) -> LanguageModel:
    """The model at `path` (a folder or a hub id), in eval mode; safetensors only.

    Raises:
        ModelError: it cannot be found, has no tokenizer, or is no causal LM.
    """
    check_readable(path)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        lm = AutoModelForCausalLM.from_pretrained(
            path, dtype=getattr(torch, dtype), use_safetensors=True, **options
        )
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"cannot load a causal LM from {path}: {_first_line(error)}") from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **options)
    except (OSError, ValueError, ImportError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} has no usable tokenizer: {_first_line(error)}") from error
    return LanguageModel(lm, tokenizer, path)


def check_readable(path: str) -> None:
    """What can be said about `path` before anything is loaded.

    Raises:
        ModelError: it looks like a folder and is none, or is one without a model or tokenizer.
    """
    folder = Path(path)
    if not folder.exists():
        if path.startswith((".", "/", "~")) or path.count("/") > 1:
            raise ModelError(f"no model folder at {path}")
        return  # a hub id
    if not (folder / "config.json").is_file():
        raise ModelError(f"{path} holds no model: there is no config.json")
    if not any(folder.glob("tokenizer*")):
        raise ModelError(f"{path} has no tokenizer: there is no tokenizer.json beside the model")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{path} has no safetensors weights (other formats are not read)")


def build(
    architecture: transformers.PretrainedConfig, texts: Iterable[str], tokenizer_size: int
) -> LanguageModel:
    """A model with random weights of the given architecture, and a tokenizer trained on `texts`."""
    tokenizer = train_tokenizer(texts, tokenizer_size)
    architecture.vocab_size = len(tokenizer)
    architecture.eos_token_id = tokenizer.eos_token_id
    architecture.bos_token_id = None
    architecture.pad_token_id = tokenizer.pad_token_id
    return LanguageModel(AutoModelForCausalLM.from_config(architecture), tokenizer, None)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
