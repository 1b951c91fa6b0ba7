"""How much memory probes need beyond the activations they read, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from taskdepth.bench.memory import peak_bytes
from taskdepth.bench.row import BenchRow
from taskdepth.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from taskdepth.bench.probing_problems import BenchProblem

PROBES_L2S = (1.0, 10.0, 100.0, 1000.0)  # as in conf/probe
MEMORY_LIMIT = 1.5  # of the activations' size


def memory(problem: BenchProblem) -> BenchRow:
    """How far a process grows beyond the activations it reads, at its peak."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.pt"
        torch.save((problem.states, problem.y), path)
        command = [sys.executable, "-m", "taskdepth.bench.probing_memory", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise ModelError(f"the memory measurement failed: {last}")
    used_bytes = json.loads(done.stdout)["used_bytes"]
    size_bytes = problem.x.numel() * problem.x.element_size()
    return BenchRow(
        f"peak memory of {problem.name}, {used_bytes / size_bytes:.2f} x the activations",
        f"{MEMORY_LIMIT} x the activations ({size_bytes / 2**20:.0f} MiB)",
        ratio=MEMORY_LIMIT * size_bytes / used_bytes,
        goal=1.0,
    )


def main() -> None:
    """The process that `memory` starts: the activations, and their probes as `probe.py` fits them."""
    import torch

    from taskdepth.probing.choice import choose
    from taskdepth.probing.control_tasks import shuffled_labels
    from taskdepth.probing.problem import ProbeProblem

    def probe(x: Tensor, y: Tensor) -> None:
        part = torch.arange(len(y)) % 6
        names = tuple(map(str, range(int(y.max()) + 1)))
        problem = ProbeProblem(
            model="",
            role="",
            task="",
            cluster="",
            target="",
            pooling="",
            class_names=names,
            x=x,
            y=y,
            is_train=part < 4,
            is_validation=part == 4,
            is_test=part == 5,
        )
        choice = choose(problem, torch.stack([y, shuffled_labels(y, 0)]), PROBES_L2S)
        choice.predict(x[:, problem.is_test])

    probe(torch.randn(2, 40, 30), torch.arange(40) % 3)  # what is set up once is not counted
    before_bytes = peak_bytes()
    x, y = torch.load(Path(sys.argv[1]), weights_only=True)
    probe(x, y)
    print(json.dumps({"used_bytes": peak_bytes() - before_bytes}))


if __name__ == "__main__":
    main()
