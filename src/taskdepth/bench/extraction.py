"""Extraction: beside the way of the paper's authors, a bare forward pass, and the matrix-multiply rate."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig
from torch import Tensor

from taskdepth import layers
from taskdepth.activations.batches import Batches
from taskdepth.activations.extraction import BATCH_TOKENS, Adapted, extract, extract_each
from taskdepth.activations.pooling import Pooling
from taskdepth.bench.model import bench_model, bench_prompts
from taskdepth.bench.row import BenchRow
from taskdepth.bench.timing import wall_s
from taskdepth.models import adapters
from taskdepth.models.packing import packed

POOLINGS = (Pooling.LAST_TOKEN, Pooling.MEAN)
NEW_TOKENS = 32  # what the authors' script generates after each prompt
N_TASKS = 8  # that the prompts are of, as many of each: a study reads task by task
N_REPEATS = 3
THREE_MODELS_LIMIT = 3.1
# relative distance of our bf16 states from their float32 ones that still counts as the same
BF16_TOLERANCE = 0.05


def run(model: Path | None, data: Path | None, n_prompts: int, n_repeated: int) -> list[BenchRow]:
    """Every comparison on real prompts: with the authors' way on `n_prompts`, the others on a part of them."""
    exact, tokenizer = bench_model(model, data, torch.float32)
    half, _ = bench_model(model, data, torch.bfloat16)
    prompts = bench_prompts(tokenizer, data, n_prompts, N_TASKS)
    few = prompts[:n_repeated]
    return [
        *_against_the_authors(exact, half, tokenizer, prompts),
        _share(exact, few, 0.75),
        _share(half, few, 0.55),
        _capture(exact, few),
        _three_models(exact, few, "in all blocks", None, goal=1.0),
        _three_models(exact, few, "in the upper half", layers.n_blocks(exact) // 2, goal=None),
    ]


def _against_the_authors(
    exact: Any, half: Any, tokenizer: Any, prompts: Sequence[Sequence[int]]
) -> list[BenchRow]:
    with tempfile.TemporaryDirectory() as folder:
        states: list[Tensor] = []
        forward_s = wall_s(lambda: states.extend(_authors(exact, prompts, Path(folder))))
        generate_s = wall_s(lambda: _generate(exact, tokenizer, prompts))
    _ours(half, prompts[:8])  # what the first call sets up is not counted
    ours: list[Tensor] = []
    ours_s = wall_s(lambda: ours.append(_ours(half, prompts)[Pooling.LAST_TOKEN]))
    theirs = torch.stack(states, dim=1)[:-1]  # their last depth is after the norm, ours before it
    apart = float((ours[0][:-1] - theirs).norm() / theirs.norm())
    both = ("the authors' way, with generate", forward_s + generate_s, 25.0)
    alone = ("the authors' way, without generate", forward_s, 5.0)
    return [
        BenchRow(
            f"extraction, {len(prompts) / ours_s:.1f} : {len(prompts) / theirs_s:.2f} prompts/s",
            against,
            ratio=theirs_s / ours_s,
            goal=goal,
            ours_s=ours_s,
            theirs_s=theirs_s,
            agreement=apart,
            agrees=apart <= BF16_TOLERANCE,
        )
        for against, theirs_s, goal in (both, alone)
    ]


@torch.no_grad()
def _authors(lm: Any, prompts: Sequence[Sequence[int]], folder: Path) -> list[Tensor]:
    """One prompt at a time, all hidden states of all tokens, one file per depth and prompt."""
    last = []
    for i, prompt in enumerate(prompts):
        states = lm(torch.tensor([prompt]), output_hidden_states=True).hidden_states
        for depth, state in enumerate(states):
            np.save(folder / f"{i}-{depth}.npy", state[0, -1].numpy())
        last.append(torch.stack([state[0, -1] for state in states]))
    return last


@torch.no_grad()
def _generate(lm: Any, tokenizer: Any, prompts: Sequence[Sequence[int]]) -> None:
    for prompt in prompts:
        ids = torch.tensor([prompt])
        lm.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=tokenizer.eos_token_id,
        )


def _ours(lm: Any, prompts: Sequence[Sequence[int]]) -> Any:
    return extract(lm, prompts, poolings=POOLINGS, batch_tokens=BATCH_TOKENS["cpu"], pack=True)


def _batches(prompts: Sequence[Sequence[int]]) -> tuple[Batches, list[list[int]]]:
    batches = Batches(prompts, [len(prompt) for prompt in prompts], pack=True)
    return batches, batches.order(BATCH_TOKENS["cpu"])


@torch.inference_mode()
def _bare(lm: Any, prompts: Sequence[Sequence[int]]) -> None:
    """The backbone on the same batches, and nothing kept."""
    batches, order = _batches(prompts)
    with packed(lm):
        for rows in order:
            lm.base_model(**batches.inputs(rows, lm.device)[0], use_cache=False)


def _capture(lm: Any, prompts: Sequence[Sequence[int]]) -> BenchRow:
    ours_s, bare_s = _in_turn(lambda: _ours(lm, prompts), lambda: _bare(lm, prompts))
    return BenchRow(
        "extraction, float32", "a bare forward pass", bare_s / ours_s, 1 / 1.05, ours_s, bare_s
    )


def _three_models(
    lm: Any, prompts: Sequence[Sequence[int]], where: str, first: int | None, goal: float | None
) -> BenchRow:
    """Pre-trained, experimental and control states of the same prompts, on one resident model."""
    blocks = None if first is None else range(first, layers.n_blocks(lm))
    with tempfile.TemporaryDirectory() as folder:
        tuned = [_saved_adapter(lm, Path(folder) / name, blocks) for name in ("both", "control")]

        def ours() -> None:
            extract_each(lm, tuned, prompts, poolings=POOLINGS, pack=True)

        ours_s, bare_s = _in_turn(ours, lambda: _bare(lm, prompts))
    return BenchRow(
        f"three models, float32, adapters {where}: {ours_s / bare_s:.2f} bare forward passes",
        f"{THREE_MODELS_LIMIT} bare forward passes",
        THREE_MODELS_LIMIT * bare_s / ours_s,
        goal,
        ours_s,
        THREE_MODELS_LIMIT * bare_s,
    )


def _saved_adapter(lm: Any, folder: Path, blocks: Sequence[int] | None) -> Adapted:
    lora = LoraConfig(task_type="CAUSAL_LM", r=8, target_modules="all-linear")
    wrapped = adapters.attach(lm, lora, blocks)
    adapters.save(wrapped, folder)
    adapters.detach(wrapped)
    return Adapted(partial(adapters.worn, lm, folder, "any"), adapters.first_block(lm, folder))


def _share(lm: Any, prompts: Sequence[Sequence[int]], goal: float) -> BenchRow:
    """What the blocks cannot do without, over the rate of a large product of the same dtype.

    Tokens that prompts share are counted once, as they are computed.
    """
    _ours(lm, prompts[:4])
    seconds, product_s = _in_turn(lambda: _ours(lm, prompts), lambda: _product(lm.dtype))
    rate = PRODUCT_FLOPS / product_s
    weights = sum(p.numel() for p in layers.find_blocks(lm).parameters() if p.ndim == 2)
    width, n_blocks = lm.config.hidden_size, layers.n_blocks(lm)
    batches, order = _batches(prompts)
    n_tokens = sum(map(batches.n_tokens, order))
    mean_tokens = sum(map(len, prompts)) / len(prompts)
    flops = 2 * n_tokens * (weights + mean_tokens * width * n_blocks)  # causal: half are looked at
    name = str(lm.dtype).removeprefix("torch.")
    return BenchRow(
        f"extraction, {name}: share of the matrix-multiply rate",
        f"{rate / 1e9:.0f} GFLOP/s in this run",
        flops / seconds / rate,
        goal,
        seconds,
        flops / rate,
    )


PRODUCT_SIZE = 2048
PRODUCT_FLOPS = 2 * PRODUCT_SIZE**3


def _product(dtype: torch.dtype) -> None:
    a = torch.ones(PRODUCT_SIZE, PRODUCT_SIZE, dtype=dtype)
    a @ a


def _in_turn(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """The best wall time of each, both run by turns: what else the machine does befalls both."""
    times = [(wall_s(ours), wall_s(theirs)) for _ in range(N_REPEATS)]
    return min(a for a, _ in times), min(b for _, b in times)
