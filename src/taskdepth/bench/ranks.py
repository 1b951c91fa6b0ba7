"""What a second process brings to the commands, one thread each: extraction, control models, tuning.

Two processes of one machine share its memory and caches: what they multiply matrices with says how much of
a second core is left by that alone.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from taskdepth.bench.row import BenchRow
from taskdepth.errors import ModelError

N_PROCESSES = 2
GOAL = 0.9
WIDTH, BLOCKS = 256, 8
# work for half a minute: what is done once by every process hardly counts in hours
COMMON = ("logger=none", "tasks=[cluster:nli,cluster:sentiment,cluster:misc]")
PRODUCTS = "matrix products"  # what the machine itself gives
N_PRODUCTS, PRODUCT_WIDTH = 1500, 768
TRAIN = ("adapter=lora", "trainer.accelerator=cpu", "trainer.val_examples_per_task=0")
WORKS = {  # what is timed, the goal of its efficiency, and the settings of its command
    "extraction": (
        GOAL,
        ("stages=[extract]", "extraction.accelerator=cpu", "similarity.splits=[test]"),
    ),
    "control models": (
        GOAL,
        (*TRAIN, "experiment=control_models", "trainer.max_steps=4", "callbacks=none"),
    ),
    "tuning": (None, (*TRAIN, "trainer.max_steps=12", "callbacks=none")),
}


@dataclass(frozen=True, slots=True)
class Times:
    """`work_s`: from when the first process began with it until the last one was done."""

    work_s: float
    command_s: float


def run() -> list[BenchRow]:
    """Every kind of work by one process and by two; the goal is of the work, start-up is told beside it.

    Raises:
        ModelError: a process failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        _prepare(Path(folder) / "model")
        goals = {PRODUCTS: None} | {name: goal for name, (goal, _) in WORKS.items()}
        return [row for name, goal in goals.items() for row in _of_work(name, goal, Path(folder))]


def _of_work(name: str, goal: float | None, place: Path) -> list[BenchRow]:
    one, two = (_timed(name, place, n) for n in (1, N_PROCESSES))
    found = []
    for what, alone_s, shared_s, floor in (
        ("", one.work_s, two.work_s, goal),
        (", with start-up", one.command_s, two.command_s, None),
    ):
        found.append(
            BenchRow(
                f"{name}{what}, {N_PROCESSES} processes: {shared_s:.1f} s",
                f"half the time of one ({alone_s:.1f} s)",
                ratio=alone_s / N_PROCESSES / shared_s,
                goal=floor,
                ours_s=shared_s,
                theirs_s=alone_s / N_PROCESSES,
            )
        )
    return found


def _timed(name: str, place: Path, n_processes: int) -> Times:
    command = ["-m", "taskdepth.bench.ranks", name, str(place), str(n_processes)]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_processes}"]
    settings = {"HF_HUB_OFFLINE": "1", "GOMP_SPINCOUNT": "20000"} | os.environ
    start_s = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *(torchrun if n_processes > 1 else ()), *command],
        capture_output=True,
        text=True,
        check=False,
        env=settings | {"OMP_NUM_THREADS": "1"},
    )
    command_s = time.perf_counter() - start_s
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise ModelError(f"{name} with {n_processes} processes failed: {last}")
    spans = [json.loads(path.read_text()) for path in sorted(place.glob(f"{name}-{n_processes}-*"))]
    work_s = max(end for _, end in spans) - min(start for start, _ in spans)
    return Times(work_s, command_s)


def _prepare(folder: Path) -> None:
    """A random Llama with a tokenizer of the demo suite's words."""
    import torch
    import transformers

    from taskdepth.models import loading
    from taskdepth.tasks.demo import DemoSource
    from taskdepth.types import Split

    torch.manual_seed(0)
    architecture = transformers.LlamaConfig(
        num_hidden_layers=BLOCKS,
        hidden_size=WIDTH,
        intermediate_size=WIDTH * 8 // 3 // 32 * 32,
        num_attention_heads=WIDTH // 32,
        max_position_embeddings=1024,
    )
    model = loading.build(architecture, list(DemoSource().plain_text(Split.TRAIN)), 2048)
    model.lm.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)


def _multiply(n_processes: int) -> None:
    """This process's share of the products."""
    import torch

    x = torch.randn(PRODUCT_WIDTH, PRODUCT_WIDTH, generator=torch.Generator().manual_seed(0))
    for _ in range(N_PRODUCTS // n_processes):
        x = x @ x
        x /= x.norm()


def main() -> None:
    """One process of a kind of work: its command, with a clock around the part that is shared."""
    from hydra import compose, initialize_config_dir

    from taskdepth import config
    from taskdepth.pipelines import probe, train
    from taskdepth.pipelines.controls import train_controls
    from taskdepth.pipelines.fitting import fit
    from taskdepth.pipelines.study import Study

    name, place, n_processes = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    number = os.environ.get("RANK", "0")
    span = place / f"{name}-{n_processes}-{number}.json"

    def clocked(work: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(work)
        def inside(*given: Any, **named: Any) -> Any:
            start_s = time.time()  # processes of one machine share this clock
            try:
                return work(*given, **named)
            finally:
                span.write_text(json.dumps([start_s, time.time()]))

        return inside

    if name == PRODUCTS:
        clocked(_multiply)(int(n_processes))
        return
    extracts = name == "extraction"
    overrides = [*WORKS[name][1], *COMMON, f"paths.root={place}"]
    overrides.append(f"name={name.replace(' ', '-')}-{n_processes}")
    if extracts:
        overrides.append(f"models.pretrained={place / 'model'}")
        overrides.append(f"paths.activations={place}/states-{n_processes}")
    else:
        overrides += ["model=pretrained", f"model.path={place / 'model'}"]
    config.register()
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        composed = compose("probe" if extracts else "train", overrides)
    settings = config.resolve(composed)
    with (
        patch.object(Study, "extract", clocked(Study.extract)),
        patch.object(train, "train_controls", clocked(train_controls)),
        patch.object(train, "fit", clocked(fit)),
    ):
        (probe if extracts else train).run(settings)


if __name__ == "__main__":
    main()
