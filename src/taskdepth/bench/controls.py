"""Control models several at once: against a single adapter on the same rows, and a process for each task."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskdepth.bench.row import BenchRow
from taskdepth.errors import DataError, ModelError

if TYPE_CHECKING:
    from taskdepth.types import LMBatch

N_TASKS = 4
BATCH_ROWS = 4  # of each task
MAX_LENGTH_TOKENS = 128  # float32 steps of longer rows take a processor half a minute
THROUGHPUT_GOAL = 0.9
PROCESSES_GOAL = 2.0
LOSS_TOLERANCE = 1e-5


def run(folder: Path, data: Path | None, n_steps: int) -> list[BenchRow]:
    """`n_steps` steps of the model in `folder`, on `N_TASKS` tasks of `data` (None: of the demo suite)."""
    tasks, batches = _batches(folder, data, n_steps)
    return [_throughput(folder, batches), _processes(folder, data, tasks, n_steps)]


def _batches(
    folder: Path, data: Path | None, n_steps: int
) -> tuple[list[str], list[list[LMBatch]]]:
    """Tasks that lie far apart, and `[task][step]` packed batches of their rows."""
    from transformers import AutoTokenizer

    from taskdepth.bench.model import bench_source
    from taskdepth.data.collate import collate
    from taskdepth.data.tokenise import PromptFormat, Tokeniser
    from taskdepth.types import Split

    source = bench_source(data)
    names = list(source.specs())
    chosen = names[:: max(1, len(names) // N_TASKS)][:N_TASKS]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokeniser = Tokeniser(tokenizer, PromptFormat(), MAX_LENGTH_TOKENS, MAX_LENGTH_TOKENS)
    found = []
    for task in chosen:
        examples = islice(source.examples(task, Split.TRAIN), 2 * n_steps * BATCH_ROWS)
        rows = [row for row in tokeniser.rows(examples) if row is not None]
        if len(rows) < n_steps * BATCH_ROWS:
            raise DataError(f"{len(rows)} rows of {task} are not enough: fewer --steps")
        cut = [rows[i * BATCH_ROWS : (i + 1) * BATCH_ROWS] for i in range(n_steps)]
        found.append([collate(group, [0] * BATCH_ROWS, packed=True) for group in cut])
    return chosen, found


def _throughput(folder: Path, batches: list[list[LMBatch]]) -> BenchRow:
    """Step by step in turns: all adapters, each on its own rows, and one adapter on all these rows."""
    import torch
    from transformers import AutoModelForCausalLM

    from taskdepth.data.collate import side_by_side

    lm = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    n_tokens = sum(sum(batch.lengths_tokens) for task in batches for batch in task)
    joined = [side_by_side(step) for step in zip(*batches, strict=True)]
    each, single = _AtOnce(copy.deepcopy(lm), batches), _Single(copy.deepcopy(lm))
    first = _Single(lm)
    ours_s = theirs_s = apart = 0.0
    for number, batch in enumerate(joined):
        start_s = time.perf_counter()
        loss = each.step()
        middle_s = time.perf_counter()
        single.step(batch)
        end_s = time.perf_counter()
        expected = first.step(batches[0][number])
        apart = max(apart, abs(loss - expected) / expected)
        if number:  # the first step makes what is made once
            ours_s += middle_s - start_s
            theirs_s += end_s - middle_s
    n_tokens -= joined[0].input_ids.numel()
    return BenchRow(
        f"{len(batches)} control models at once, "
        f"{n_tokens / ours_s:.0f} : {n_tokens / theirs_s:.0f} tokens/s (apart: of a task alone)",
        "a single adapter on the same packed rows",
        ratio=theirs_s / ours_s,
        goal=THROUGHPUT_GOAL,
        ours_s=ours_s,
        theirs_s=theirs_s,
        agreement=apart,
        agrees=apart <= LOSS_TOLERANCE,
    )


def _lora(lm: Any) -> Any:
    import torch
    from peft import LoraConfig

    from taskdepth.models import adapters

    torch.manual_seed(0)
    lora = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear")
    return adapters.attach(lm, lora, None)


class _AtOnce:
    """The control models of the pipeline, on batches made here."""

    def __init__(self, lm: Any, batches: list[list[LMBatch]]) -> None:
        import lightning
        import torch

        from taskdepth.config import TrainConfig
        from taskdepth.models import adapters, joint
        from taskdepth.models.bad_steps import StepGuard
        from taskdepth.pipelines.learner import Learner
        from taskdepth.pipelines.shared_steps import Together
        from taskdepth.tasks.spec import Kind, TaskSpec

        config = TrainConfig()
        fabric = lightning.Fabric(accelerator="cpu", devices=1)
        self._together = Together(config, lm, fabric)
        guard = StepGuard(config.trainer.on_bad_step, lambda row: ("", str(row)))
        self._learners = []
        for i, own in enumerate(batches):
            wrapped = _lora(lm)
            weights = joint.read(wrapped)
            adapters.detach(wrapped)
            optimizer = torch.optim.AdamW(joint.parameters(weights), lr=1e-4)
            constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
            spec = TaskSpec(str(i), "c", Kind.GENERATION)
            rows: Any = _Rows(own)
            self._learners.append(Learner(spec, rows, weights, optimizer, constant, 0, 0.0, guard))

    def step(self) -> float:
        """Returns the loss of the first."""
        for learner in self._learners:
            learner.n_steps += 1
        self._together.learn(self._learners)
        loss = self._learners[0].loss
        return math.nan if loss is None else loss


class _Rows(list["LMBatch"]):
    """One epoch of batches, where a data module is wanted."""

    def __init__(self, batches: list[LMBatch]) -> None:
        from taskdepth.data.batches import Batching

        super().__init__(batches)
        self.batching = Batching()

    def train_dataloader(self) -> _Rows:
        return self

    def set_epoch(self, epoch: int) -> None:
        """The order is that of the list."""


class _Single:
    """One PEFT adapter, tuned as `InstructionTuner` does."""

    def __init__(self, lm: Any) -> None:
        import torch

        self._lm = _lora(lm).train()
        self._learnt = [p for p in self._lm.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(self._learnt, lr=1e-4)

    def step(self, batch: LMBatch) -> float:
        import torch

        from taskdepth.models.packing import packed
        from taskdepth.models.targets import score_targets

        with packed(self._lm):
            loss = score_targets(self._lm, batch).loss.mean()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self._learnt, 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return float(loss.detach())


def _processes(folder: Path, data: Path | None, tasks: list[str], n_steps: int) -> BenchRow:
    """The command of a user, and the same command once for each task."""
    with tempfile.TemporaryDirectory() as place:
        start_s = time.perf_counter()
        _train(folder, data, tasks, n_steps, Path(place) / "at_once")
        middle_s = time.perf_counter()
        for task in tasks:
            _train(folder, data, [task], n_steps, Path(place) / task)
        end_s = time.perf_counter()
    return BenchRow(
        f"{len(tasks)} control models of {n_steps} steps, start-up and all",
        "one process per task",
        ratio=(end_s - middle_s) / (middle_s - start_s),
        goal=PROCESSES_GOAL,
        ours_s=middle_s - start_s,
        theirs_s=end_s - middle_s,
    )


def _train(folder: Path, data: Path | None, tasks: list[str], n_steps: int, root: Path) -> None:
    command = [sys.executable, "-c", "from taskdepth.cli import train; train()"]
    command += ["experiment=control_models", "model=pretrained", f"model.path={folder}"]
    command += ["tasks=[" + ",".join(tasks) + "]", f"control.at_once={len(tasks)}"]
    command += [f"trainer.max_steps={n_steps}", f"trainer.batch_size_examples={BATCH_ROWS}"]
    command += ["trainer.val_examples_per_task=0", f"data.max_length_tokens={MAX_LENGTH_TOKENS}"]
    command += ["logger.enabled=false", f"paths.root={root}"]
    if data is not None:
        command += ["data=folder", f"data.path={data}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise ModelError(f"control models failed: {last}")
