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
from pathlib import Path
from typing import Any

from taskdepth.bench import controls, prefix
from taskdepth.bench.row import BenchRow
from taskdepth.errors import ModelError

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
    from taskdepth.bench.training_side import prepare, rows_of

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepare(work, model, data, n_steps * batch)
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
        found += prefix.run(work / "model", rows_of(work), min(n_steps, FLOAT32_STEPS))
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
    command = [sys.executable, "-m", "taskdepth.bench.training_side", side, str(work), str(batch)]
    # the same for both sides: no hub, and waiting threads that sleep (as train.py sets it)
    settings = {"HF_HUB_OFFLINE": "1", "GOMP_SPINCOUNT": "20000"} | os.environ
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=settings)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        hint = ": pip install 'taskdepth[bench]'" if "No module named 'trl'" in last else ""
        raise ModelError(f"the {side} side of the benchmark failed: {last}{hint}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
