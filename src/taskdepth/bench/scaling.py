"""The cost model of `taskdepth.scaling` at three sizes: the seconds it predicts, and those that pass.

The rate comes from a few prompts, as `probe.py extraction.plan=true` measures it; the FLOPs are counted.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Sequence
from typing import Any

import lightning
import torch
import transformers
from lightning.pytorch.callbacks import Callback
from peft import LoraConfig
from torch.utils.data import DataLoader

from taskdepth.activations.extraction import extract
from taskdepth.activations.plan import measured_rate
from taskdepth.activations.pooling import Pooling
from taskdepth.bench.row import BenchRow
from taskdepth.data.collate import collate
from taskdepth.data.tokenise import TokenisedRow
from taskdepth.models import adapters
from taskdepth.models.packing import packed
from taskdepth.models.tuner import InstructionTuner, Schedule
from taskdepth.scaling import forward_flops, shape_of, tuning_flops

SIZES = ((128, 6), (256, 8), (384, 12))  # width and blocks
VOCABULARY = 4096
RANK, ADAPTED, TARGETS = 8, (0, 2), ["q_proj", "v_proj"]  # the paper's adapter
N_PROMPTS, PROMPT_TOKENS = 96, (32, 160)  # more than the sample that gives the rate
N_STEPS, BATCH_ROWS, N_TARGETS = 6, 8, 8
N_REPEATS = 2  # the better one counts, as it does for the rate
GOAL = 1 / 1.2  # of the smaller of the two over the larger
POOLINGS = (Pooling.LAST_TOKEN, Pooling.MEAN)


def run() -> list[BenchRow]:
    """Extraction, tuning of all weights and tuning with LoRA, of each size."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # devices and tips
    return [row for size in SIZES for row in _of_size(*size)]


def _of_size(d_model: int, n_blocks: int) -> list[BenchRow]:
    lm, prompts = _model(d_model, n_blocks), _prompts(N_PROMPTS)
    name = f"{d_model} wide, {n_blocks} blocks"
    rate = measured_rate(lm, [prompts], POOLINGS, pack=True)
    measured_s = min(_extraction_s(lm, prompts) for _ in range(N_REPEATS))
    shape, lengths = shape_of(lm), [len(prompt) for prompt in prompts]
    rows = [_row(f"extraction, {name}", forward_flops(shape, lengths) / rate, measured_s)]
    learnt = [len(prompt) for prompt in prompts[BATCH_ROWS : N_STEPS * BATCH_ROWS]]
    n_targets = N_TARGETS * len(learnt)
    for what, rank in (("LoRA", RANK), ("all weights", None)):
        flops = tuning_flops(shape, learnt, n_targets, lora_rank=rank, adapted=ADAPTED)
        times = [_tuning_s(_model(d_model, n_blocks), prompts, rank) for _ in range(N_REPEATS)]
        rows.append(_row(f"tuning {what}, {name}", flops / rate, min(times)))
    return rows


def _extraction_s(lm: Any, prompts: Sequence[tuple[int, ...]]) -> float:
    start_s = time.perf_counter()
    extract(lm, prompts, poolings=POOLINGS, pack=True)
    return time.perf_counter() - start_s


def _row(name: str, predicted_s: float, measured_s: float) -> BenchRow:
    near = min(predicted_s, measured_s) / max(predicted_s, measured_s)
    told = f"measured over predicted {measured_s / predicted_s:.2f}"
    return BenchRow(f"{name}: {told}", "the predicted time", near, GOAL, measured_s, predicted_s)


def _model(d_model: int, n_blocks: int) -> Any:
    torch.manual_seed(0)
    transformers.utils.logging.set_verbosity_error()
    config = transformers.LlamaConfig(
        num_hidden_layers=n_blocks,
        hidden_size=d_model,
        intermediate_size=d_model * 8 // 3 // 32 * 32,
        num_attention_heads=d_model // 32,
        num_key_value_heads=d_model // 32,
        vocab_size=VOCABULARY,
        tie_word_embeddings=False,
    )
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def _prompts(n: int) -> list[tuple[int, ...]]:
    """Of random tokens: they share no beginning, which would be read once."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(*PROMPT_TOKENS, (n,), generator=generator).tolist()
    return [
        tuple(torch.randint(4, VOCABULARY, (length,), generator=generator).tolist())
        for length in lengths
    ]


def _tuning_s(lm: Any, prompts: Sequence[tuple[int, ...]], rank: int | None) -> float:
    """The time of all steps but the first, which sets things up."""
    if rank is not None:
        lora = LoraConfig(task_type="CAUSAL_LM", r=rank, target_modules=TARGETS)
        lm = adapters.attach(lm, lora, None)
    rows = [TokenisedRow(str(i), "t", p, len(p) - N_TARGETS) for i, p in enumerate(prompts)]
    batches = [
        collate(rows[i * BATCH_ROWS : (i + 1) * BATCH_ROWS], [0] * BATCH_ROWS, packed=True)
        for i in range(N_STEPS)
    ]

    class Clock(Callback):
        start_s = 0.0

        def on_train_batch_end(self, *_: Any) -> None:
            self.start_s = self.start_s or time.perf_counter()

    clock = Clock()
    adamw = functools.partial(torch.optim.AdamW, lr=1e-4)
    trainer = lightning.Trainer(
        max_steps=N_STEPS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        limit_val_batches=0,
        callbacks=[clock],
    )
    tuner = InstructionTuner(lm, ["t"], adamw, Schedule(N_STEPS, "constant"))
    with packed(lm):
        trainer.fit(tuner, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
        return time.perf_counter() - clock.start_s
