"""Models and tokenizers: from a folder, from the hub, or built from a config."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from taskdepth.errors import ModelError
from taskdepth.models.dispatched import Parts
from taskdepth.models.folder import check_attention, check_model, trusts
from taskdepth.models.tokenizer import train_tokenizer

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

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
        return window_tokens(self.lm.config, self.tokenizer)


def window_tokens(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """The longest sequence that a model of this config takes."""
    position_limit = getattr(config, "max_position_embeddings", None) or UNLIMITED_TOKENS
    return int(min(position_limit, tokenizer.model_max_length, UNLIMITED_TOKENS))


def load(
    folder: Path,
    *,
    dtype: str = "float32",
    trust_remote_code: str | None = None,
    quantization: str | None = None,
    parts: Parts | None = None,
) -> LanguageModel:
    """The model in `folder`, in eval mode; safetensors only. Its own code runs only if
    `trust_remote_code` names it, by folder or hub id.

    `quantization="4bit"` keeps its matrices in 4 bits, as QLoRA does (Dettmers et al. 2023,
    arXiv:2305.14314: NF4, doubly quantised, computing in bfloat16). `parts` says where the parts of a model
    lie that is too big for one device.

    Raises:
        ModelError: it is no causal LM, its tokenizer cannot be used, or its parts cannot lie like that.
    """
    check_quantization(quantization)
    check_model(folder, trust_remote_code)
    tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
    try:
        with warnings.catch_warnings():
            # that is an error here: `Parts.check`
            warnings.filterwarnings("ignore", message="The following device_map keys")
            lm = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                trust_remote_code=trusts(trust_remote_code, folder),
                quantization_config=_four_bits() if quantization else None,
                **(parts.options() if parts else {}),
            )
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"cannot load a causal LM from {folder}: {_reason(error, folder)}"
        ) from error
    if parts is not None:
        parts.check(lm)
    return LanguageModel(lm, tokenizer, str(folder))


def check_quantization(quantization: str | None) -> None:
    """Raises:
    ModelError: this machine cannot quantise.
    """
    if quantization is None:
        return
    if not torch.cuda.is_available():
        raise ModelError("QLoRA needs a CUDA GPU: adapter=lora here")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError("QLoRA needs bitsandbytes: pip install bitsandbytes, or adapter=lora")


def _four_bits() -> BitsAndBytesConfig:
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def load_tokenizer(
    folder: Path, *, trust_remote_code: str | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`.

    Raises:
        ModelError: it cannot be used.
    """
    check_model(folder, trust_remote_code)
    try:
        return AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trusts(trust_remote_code, folder)
        )
    except (OSError, ValueError, ImportError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder} has no usable tokenizer: {_reason(error, folder)}") from error


def load_config(folder: Path, *, trust_remote_code: str | None = None) -> PretrainedConfig:
    """The architecture of the model in `folder`, without its weights.

    Raises:
        ModelError: it cannot be read.
    """
    check_model(folder, trust_remote_code)
    try:
        return AutoConfig.from_pretrained(
            folder, trust_remote_code=trusts(trust_remote_code, folder)
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} has no usable config.json: {_reason(error, folder)}") from error


def local_folder(
    path: str, revision: str | None = None, trust_remote_code: str | None = None
) -> Path:
    """The folder that holds the model `path` names: itself, or the hub's snapshot, fetched if need be.

    Of a snapshot only JSON, text and safetensors are fetched; Python only if `trust_remote_code` is `path`.

    Raises:
        ModelError: it cannot be found, or is a folder without a model, tokenizer or safetensors.
    """
    folder = Path(path)
    if not folder.exists():
        if path.startswith((".", "/", "~")) or path.count("/") > 1:
            raise ModelError(f"no model folder at {path}")
        folder = _snapshot(path, revision, with_code=trust_remote_code == path)
    if not (folder / "config.json").is_file():
        raise ModelError(f"{path} holds no model: there is no config.json")
    if not any(folder.glob("tokenizer*")):
        raise ModelError(f"{path} has no tokenizer: there is no tokenizer.json beside the model")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{path} has no safetensors weights (other formats are not read)")
    return folder.resolve()


def _snapshot(hub_id: str, revision: str | None, *, with_code: bool) -> Path:
    patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    patterns += ["*.py"] * with_code
    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=patterns))
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise ModelError(
            f"{hub_id} is neither a folder nor within reach on the hub: {_first_line(error)}"
        ) from error


def build(
    architecture: PretrainedConfig, texts: Iterable[str], tokenizer_size: int
) -> LanguageModel:
    """A model with random weights of the given architecture, and a tokenizer trained on `texts`."""
    check_attention(architecture._attn_implementation, "model.architecture")
    tokenizer = train_tokenizer(texts, tokenizer_size)
    architecture.vocab_size = len(tokenizer)
    architecture.eos_token_id = tokenizer.eos_token_id
    architecture.bos_token_id = None
    architecture.pad_token_id = None  # the end token must keep a trained embedding
    lm = AutoModelForCausalLM.from_config(architecture, trust_remote_code=False)
    return LanguageModel(lm, tokenizer, None)


def _reason(error: Exception, folder: Path) -> str:
    if "trust_remote_code" in str(error):
        return (
            "it needs code of its own, which is not run unless trust_remote_code names this model, "
            f"as it is named in the config: read {folder}/*.py first"
        )
    return _first_line(error)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
