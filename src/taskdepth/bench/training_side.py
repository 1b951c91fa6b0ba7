"""One side of the training benchmark, in a process of its own: what it reads, and what it measures.

Each side imports only what it needs, as its memory is measured too.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskdepth.bench.memory import peak_bytes
from taskdepth.errors import DataError

if TYPE_CHECKING:
    from taskdepth.data.tokenise import TokenisedRow


def prepare(work: Path, model: Path | None, data: Path | None, n_rows: int) -> None:
    """Leave in `work` the model and the token rows that both sides read.

    Raises:
        DataError: there are fewer than `n_rows`.
    """
    import torch

    from taskdepth.bench.model import MAX_LENGTH_TOKENS, bench_model, bench_source, in_turn
    from taskdepth.data.tokenise import PromptFormat, Tokeniser
    from taskdepth.types import Split

    lm, tokenizer = bench_model(model, data, torch.bfloat16)
    lm.save_pretrained(work / "model")
    tokenizer.save_pretrained(work / "model")
    tokeniser = Tokeniser(tokenizer, PromptFormat(), MAX_LENGTH_TOKENS, MAX_LENGTH_TOKENS)
    examples = islice(in_turn(bench_source(data), Split.TRAIN), 4 * n_rows)
    rows = [row for row in tokeniser.rows(examples) if row is not None]
    if len(rows) < n_rows:
        raise DataError(f"{len(rows)} rows are not enough for {n_rows}: fewer --steps or --batch")
    picked = [[list(row.input_ids), row.n_prompt_tokens] for row in rows[:n_rows]]
    (work / "rows.json").write_text(json.dumps(picked), encoding="utf-8")


def rows_of(work: Path) -> list[TokenisedRow]:
    """The rows that `prepare` left."""
    from taskdepth.data.tokenise import TokenisedRow

    stored = json.loads((work / "rows.json").read_text(encoding="utf-8"))
    return [TokenisedRow(str(i), "t", tuple(ids), n) for i, (ids, n) in enumerate(stored)]


def _tuned(work: Path) -> Any:
    """The model under a new LoRA adapter, the same in every process."""
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM

    from taskdepth.models import adapters

    lm = AutoModelForCausalLM.from_pretrained(work / "model", dtype=torch.bfloat16)
    torch.manual_seed(0)
    lora = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear")
    return adapters.attach(lm, lora, None)


def _ours(work: Path, batch: int) -> dict[str, Any]:
    import functools

    import torch
    from lightning.pytorch.callbacks import Callback
    from torch.utils.data import DataLoader

    from taskdepth.data.collate import collate
    from taskdepth.models.packing import packed
    from taskdepth.models.tuner import InstructionTuner, Schedule

    rows = rows_of(work)
    batches = [
        collate(rows[i : i + batch], [0] * batch, packed=True) for i in range(0, len(rows), batch)
    ]
    losses: list[float] = []

    class Clock(Callback):
        start_s = 0.0

        def on_train_batch_start(self, *_: Any) -> None:
            self.start_s = self.start_s or time.perf_counter()

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            losses.append(float(trainer.callback_metrics["train/loss"]))

    lm = _tuned(work)
    adamw = functools.partial(torch.optim.AdamW, lr=1e-4, weight_decay=0.0)
    tuner = InstructionTuner(lm, ["t"], adamw, Schedule(len(batches), "constant"))
    clock = Clock()
    trainer = _our_trainer(len(batches), clock)
    with packed(lm):
        trainer.fit(tuner, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
        seconds = time.perf_counter() - clock.start_s
        held_bytes = peak_bytes()
        flops = _step_flops(tuner, batches[0])
    n_tokens = sum(row.n_tokens for row in rows)
    per_token = flops / sum(batches[0].lengths_tokens)
    return {
        "seconds": seconds,
        "losses": losses,
        "n_tokens": n_tokens,
        "peak_bytes": held_bytes,
        "step_flops_s": per_token * n_tokens / seconds,
        "matmul_flops_s": _matmul_flops_s(),
    }


def _our_trainer(n_steps: int, clock: Any) -> Any:
    import lightning

    return lightning.Trainer(
        max_steps=n_steps,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        limit_val_batches=0,
        callbacks=[clock],
    )


def _step_flops(tuner: Any, batch: Any) -> int:
    """Floating-point operations of one forward and backward pass, counted by torch."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from taskdepth.models.targets import score_targets

    with FlopCounterMode(display=False) as counter:
        torch.autograd.backward(score_targets(tuner.lm, batch).loss.mean())
    return int(counter.get_total_flops())


def _matmul_flops_s(size: int = 2048, n_times: int = 5) -> float:
    """The best rate of a large bf16 matrix product in this process."""
    import torch

    a, b = (torch.randn(size, size, dtype=torch.bfloat16) for _ in range(2))
    best_s = float("inf")
    for _ in range(n_times):
        start_s = time.perf_counter()
        a @ b
        best_s = min(best_s, time.perf_counter() - start_s)
    return 2 * size**3 / best_s


def _trl(work: Path, batch: int, *, lean: bool) -> dict[str, Any]:
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTTrainer

    rows = rows_of(work)
    losses: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
        start_s = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.start_s = self.start_s or time.perf_counter()

        def on_log(self, *_: Any, logs: dict[str, Any], **__: Any) -> None:
            if "loss" in logs:
                losses.append(float(logs["loss"]))

    masks = [[int(i >= row.n_prompt_tokens) for i in range(row.n_tokens)] for row in rows]
    data = Dataset.from_dict(
        {"input_ids": [list(row.input_ids) for row in rows], "completion_mask": masks}
    )
    clock = Clock()
    trainer = SFTTrainer(
        model=_tuned(work),
        args=_their_config(work, len(rows) // batch, batch, lean=lean),
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(work / "model"),
        callbacks=[clock],
    )
    trainer.train()
    return {
        "seconds": time.perf_counter() - clock.start_s,
        "losses": losses,
        "n_tokens": sum(row.n_tokens for row in rows),
        "peak_bytes": peak_bytes(),
    }


def _their_config(work: Path, n_steps: int, batch: int, *, lean: bool) -> Any:
    from trl import SFTConfig

    options: dict[str, Any] = {"gradient_checkpointing": False} if lean else {}
    return SFTConfig(
        output_dir=str(work / "trl"),
        max_steps=n_steps,
        per_device_train_batch_size=batch,
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        train_sampling_strategy="sequential",
        completion_only_loss=True,
        max_length=None,
        bf16=False,  # the weights are bf16 on both sides
        use_cpu=True,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **options,
    )


def main() -> None:
    """One side, in the process that `training.run` starts."""
    side, work, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    found = _ours(work, batch) if side == "ours" else _trl(work, batch, lean=side == "trl-lean")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
