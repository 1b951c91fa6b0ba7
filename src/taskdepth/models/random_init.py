"""A model of the same shape with fresh weights: what the architecture alone gives a probe."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from taskdepth.files import replacing_folder
from taskdepth.models.folder import trusts
from taskdepth.models.loading import load_config, load_tokenizer


def saved(base: Path, root: Path, seed: int, *, trust_remote_code: str | None = None) -> Path:
    """The folder under `root` with such a model, made like the one in `base` unless it is there.

    Weights are drawn as the architecture initialises them; the tokenizer is that of `base`.

    Raises:
        ModelError: the config or the tokenizer of `base` cannot be used.
    """
    config = load_config(base, trust_remote_code=trust_remote_code)
    tokenizer = load_tokenizer(base, trust_remote_code=trust_remote_code)
    about = hashlib.blake2b(f"{seed} {config.to_json_string()}".encode(), digest_size=8)
    for path in sorted(base.glob("tokenizer*")):
        about.update(path.read_bytes())
    folder = root / f"random-init-{about.hexdigest()}"
    if folder.is_dir():
        return folder
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        lm = AutoModelForCausalLM.from_config(
            config, trust_remote_code=trusts(trust_remote_code, base)
        )
    with replacing_folder(folder) as partial:
        lm.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    return folder
