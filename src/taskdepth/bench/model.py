"""What the benchmarks run on: a model and prompts of the user's, or ones made here."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers

from taskdepth.data.tokenise import PromptFormat, Tokeniser
from taskdepth.errors import DataError
from taskdepth.models import loading
from taskdepth.tasks.demo import DemoSource
from taskdepth.tasks.folder import FolderSource
from taskdepth.types import Split

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taskdepth.tasks.spec import Source
    from taskdepth.types import Example

# SmolLM2-135M
SHAPE = {
    "num_hidden_layers": 30,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}
VOCABULARY = 49152
MAX_LENGTH_TOKENS = 512


def bench_model(path: Path | None, data: Path | None, dtype: torch.dtype) -> tuple[Any, Any]:
    """The model at `path` and its tokenizer; without one, random weights of SmolLM2-135M's shape."""
    transformers.utils.logging.set_verbosity_error()
    if path is not None:
        given = loading.load(loading.local_folder(str(path)))
        return given.lm.to(dtype), given.tokenizer
    torch.manual_seed(0)
    texts = list(bench_source(data).plain_text(Split.TRAIN))
    tokenizer = loading.build(transformers.LlamaConfig(**SHAPE), texts, 4096).tokenizer
    config = transformers.LlamaConfig(
        **SHAPE, vocab_size=VOCABULARY, eos_token_id=tokenizer.eos_token_id
    )
    lm = transformers.AutoModelForCausalLM.from_config(config).eval()
    return lm.to(dtype), tokenizer


def bench_source(data: Path | None) -> Source:
    """The tasks in the folder `data`, or the demo suite."""
    return DemoSource() if data is None else FolderSource(data)


def bench_prompts(tokenizer: Any, data: Path | None, n: int, n_tasks: int) -> list[tuple[int, ...]]:
    """The first `n` test prompts of `n_tasks` tasks in turn, as token ids; the tasks lie far apart.

    Raises:
        DataError: there are fewer.
    """
    tokeniser = Tokeniser(tokenizer, PromptFormat(), MAX_LENGTH_TOKENS, MAX_LENGTH_TOKENS)
    source = bench_source(data)
    names = list(source.specs())
    chosen = names[:: max(1, len(names) // n_tasks)][:n_tasks]
    rows = in_turn(source, Split.TEST, chosen)
    prompts = [tokeniser.prompt(example).input_ids for example in islice(rows, n)]
    if len(prompts) < n:
        raise DataError(f"{len(prompts)} test prompts are not enough for {n}")
    return prompts


def in_turn(source: Source, split: Split, names: Sequence[str] | None = None) -> Iterator[Example]:
    """Rows of the tasks (None: of all), one of each after the other, as a shuffled mixture has them."""
    tasks = [iter(source.examples(name, split)) for name in names or source.specs()]
    while tasks:
        for rows in list(tasks):
            row = next(rows, None)
            if row is None:
                tasks.remove(rows)
            else:
                yield row
