"""Tuning with LoRA: `InstructionTuner` against TRL's `SFTTrainer`, each in a process of its own.

Then what cached states and shared steps bring.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskdepth.bench import controls, prefix
from taskdepth.bench.row import BenchRow
from taskdepth.errors import DataError, ModelError

if TYPE_CHECKING:
    from taskdepth.data.tokenise import TokenisedRow

GOAL = 4.0
LOSS_TOLERANCE = 0.01
HELP_LIMIT_S = 2.5
FIRST_STEP_LIMIT_S = 15.0
FLOAT32_STEPS = 4  # of a processor, where losses are compared digit by digit


def run(model: Path | None, data: Path | None, n_steps: int, batch: int) -> list[BenchRow]:
    """Every comparison.

    Raises:
        ModelError: TRL is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _prepare(work, model, data, n_steps * batch)
        ours = _side("ours", work, batch)
        defaults = _side("trl", work, batch)
        lean = _side("trl-lean", work, batch)
        found = [
            _compared("LoRA tuning", "TRL SFTTrainer", ours, defaults, GOAL),
            _compared(
                "LoRA tuning", "TRL SFTTrainer, gradient_checkpointing=False", ours, lean, None
            ),
            BenchRow(
                "peak memory",
                "TRL SFTTrainer",
                ratio=defaults["peak_bytes"] / ours["peak_bytes"],
                goal=1.0,
            ),
            BenchRow(
                "share of the matrix-multiply rate",
                f"{ours['matmul_flops_s'] / 1e9:.0f} GFLOP/s in this run",
                ratio=ours["step_flops_s"] / ours["matmul_flops_s"],
            ),
        ]
        found += _starts(work / "model")
        found += prefix.run(work / "model", _rows(work), min(n_steps, FLOAT32_STEPS))
        return found + controls.run(work / "model", data, min(n_steps, FLOAT32_STEPS))


def _compared(
    name: str, against: str, ours: dict[str, Any], theirs: dict[str, Any], goal: float | None
) -> BenchRow:
    apart = max(abs(a - b) / b for a, b in zip(ours["losses"], theirs["losses"], strict=True))
    rate = (
        f"{ours['n_tokens'] / ours['seconds']:.0f} : {theirs['n_tokens'] / theirs['seconds']:.0f}"
    )
    return BenchRow(
        f"{name}, {rate} tokens/s",
        against,
        ratio=theirs["seconds"] / ours["seconds"],
        goal=goal,
        ours_s=ours["seconds"],
        theirs_s=theirs["seconds"],
        agreement=apart,
        agrees=apart <= LOSS_TOLERANCE,
    )


def _starts(model: Path) -> list[BenchRow]:
    """How long until train.py has said what it can do, and until it has taken and saved a first step."""
    train = [sys.executable, "-c", "from taskdepth.cli import train; train()"]
    with tempfile.TemporaryDirectory() as folder:
        step = [
            *("model=pretrained", f"model.path={model}", "adapter=lora", "tasks=[demo_arithmetic]"),
            *("trainer.max_steps=1", "trainer.val_examples_per_task=0", "logger.enabled=false"),
            *("callbacks=none", f"paths.root={folder}"),
        ]
        help_s, step_s = _wall_s([*train, "--help"]), _wall_s([*train, *step])
    return [
        BenchRow("train.py --help", f"{HELP_LIMIT_S} s", HELP_LIMIT_S / help_s, 1.0, help_s),
        BenchRow(
            "train.py, one step taken and saved",
            f"{FIRST_STEP_LIMIT_S:.0f} s",
            FIRST_STEP_LIMIT_S / step_s,
            1.0,
            step_s,
        ),
    ]


def _wall_s(command: list[str]) -> float:
    start_s = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ModelError(f"{command[-1]} failed: {done.stderr.strip().splitlines()[-1]}")
    return time.perf_counter() - start_s


def _side(side: str, work: Path, batch: int) -> dict[str, Any]:
    """Run one side in a new process: neither warms up, or fills the memory of, the other."""
    command = [sys.executable, "-m", "taskdepth.bench.training", side, str(work), str(batch)]
    # the same for both sides: no hub, and waiting threads that sleep (as train.py sets it)
    settings = {"HF_HUB_OFFLINE": "1", "GOMP_SPINCOUNT": "20000"} | os.environ
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=settings)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        hint = ": pip install 'taskdepth[bench]'" if "No module named 'trl'" in last else ""
        raise ModelError(f"the {side} side of the benchmark failed: {last}{hint}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _prepare(work: Path, model: Path | None, data: Path | None, n_rows: int) -> None:
    """The model and the token rows that both sides read."""
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


def _rows(work: Path) -> list[TokenisedRow]:
    from taskdepth.data.tokenise import TokenisedRow

    stored = json.loads((work / "rows.json").read_text(encoding="utf-8"))
    return [TokenisedRow(str(i), "t", tuple(ids), n) for i, (ids, n) in enumerate(stored)]


def _ours(work: Path, batch: int) -> dict[str, Any]:
    import functools

    import lightning
    import torch
    from lightning.pytorch.callbacks import Callback
    from torch.utils.data import DataLoader

    from taskdepth.data.collate import collate
    from taskdepth.models.packing import packed
    from taskdepth.models.tuner import InstructionTuner, Schedule

    rows = _rows(work)
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
    trainer = lightning.Trainer(
        max_steps=len(batches),
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        limit_val_batches=0,
        callbacks=[clock],
    )
    with packed(lm):
        trainer.fit(tuner, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
        seconds = time.perf_counter() - clock.start_s
        peak_bytes = _peak_bytes()
        flops = _step_flops(tuner, batches[0])
    n_tokens = sum(row.n_tokens for row in rows)
    per_token = flops / sum(batches[0].lengths_tokens)
    return {
        "seconds": seconds,
        "losses": losses,
        "n_tokens": n_tokens,
        "peak_bytes": peak_bytes,
        "step_flops_s": per_token * n_tokens / seconds,
        "matmul_flops_s": _matmul_flops_s(),
    }


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
    from trl import SFTConfig, SFTTrainer

    rows = _rows(work)
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
    options: dict[str, Any] = {"gradient_checkpointing": False} if lean else {}
    config = SFTConfig(
        output_dir=str(work / "trl"),
        max_steps=len(rows) // batch,
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
    clock = Clock()
    trainer = SFTTrainer(
        model=_tuned(work),
        args=config,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(work / "model"),
        callbacks=[clock],
    )
    trainer.train()
    return {
        "seconds": time.perf_counter() - clock.start_s,
        "losses": losses,
        "n_tokens": sum(row.n_tokens for row in rows),
        "peak_bytes": _peak_bytes(),
    }


def _peak_bytes() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """One side, in the process that `_side` starts."""
    side, work, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    found = _ours(work, batch) if side == "ours" else _trl(work, batch, lean=side == "trl-lean")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
