"""How extraction grows: its time with rows, depths and tasks at four sizes, its memory with rows."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskdepth.bench.memory import peak_bytes
from taskdepth.bench.row import BenchRow
from taskdepth.errors import ModelError

if TYPE_CHECKING:
    from taskdepth.pipelines.study import Study

STEPS = (1, 2, 4, 8)
LINEAR = 1 / 1.2  # of the time per unit at the smallest size over that at the largest
MEMORY_ROWS, MEMORY_FACTOR = 1024, 4
FLAT_SHARE = 0.25  # of what the states of the further rows take


@dataclass(frozen=True, slots=True)
class Size:
    """A study of one model, for `prepared`."""

    n_rows: int = 256
    n_blocks: int = 4
    n_tasks: int = 1
    d_model: int = 128
    prompt_words: int = 24
    shard_rows: int = 128

    def states_bytes(self, n_rows: int) -> int:
        """Those of `n_rows` rows of a task, last token and mean, in float32."""
        return n_rows * (self.n_blocks + 1) * self.d_model * 2 * 4


SMALL = Size()
# wide states of short prompts: what is kept outweighs everything that is not
WIDE = Size(n_blocks=1, d_model=1024, prompt_words=2)


def run() -> list[BenchRow]:
    """Seconds at four sizes of each kind, and the peak memory at n and 4 n rows."""
    return [
        _linear("rows", lambda k: replace(SMALL, n_rows=SMALL.n_rows * k)),
        _linear("blocks", lambda k: replace(SMALL, n_blocks=2 * k)),
        _linear("tasks", lambda k: replace(SMALL, n_tasks=k)),
        _flat(),
    ]


def _linear(what: str, size: Callable[[int], Size]) -> BenchRow:
    seconds = [_seconds(size(k)) for k in STEPS]
    told = ", ".join(f"{s:.2f}" for s in seconds)
    return BenchRow(
        f"extraction of 1, 2, 4 and 8 times the {what}: {told} s",
        "8 times the time of the smallest",
        ratio=STEPS[-1] * seconds[0] / seconds[-1],
        goal=LINEAR,
        ours_s=seconds[-1],
        theirs_s=STEPS[-1] * seconds[0],
    )


def _seconds(size: Size) -> float:
    """The better of two, after the model is loaded."""

    def once() -> float:
        with tempfile.TemporaryDirectory() as folder:
            study = prepared(Path(folder), size)
            start_s = time.perf_counter()
            study.extract()
            return time.perf_counter() - start_s

    return min(once(), once())


def _flat() -> BenchRow:
    few, many = (used_bytes(k * MEMORY_ROWS) for k in (1, MEMORY_FACTOR))
    further = WIDE.states_bytes((MEMORY_FACTOR - 1) * MEMORY_ROWS)
    grown = max(many - few, 1)
    return BenchRow(
        f"peak memory of extraction, {MEMORY_ROWS} and {MEMORY_FACTOR * MEMORY_ROWS} rows: "
        f"{few / 2**20:.0f} and {many / 2**20:.0f} MiB above the start",
        f"{FLAT_SHARE} x the states of the further rows ({further / 2**20:.0f} MiB)",
        ratio=FLAT_SHARE * further / grown,
        goal=1.0,
    )


def used_bytes(n_rows: int) -> int:
    """How far a process grows that extracts `n_rows` wide states, after a few rows to begin with.

    Raises:
        ModelError: it failed.
    """
    command = [sys.executable, "-m", "taskdepth.bench.growth", str(n_rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise ModelError(f"the memory measurement failed: {last}")
    found: int = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def prepared(place: Path, size: Size) -> Study:
    """A study whose test rows are to be extracted into `place`, with its model loaded."""
    import torch
    import transformers
    from hydra import compose, initialize_config_dir

    from taskdepth import config
    from taskdepth.activations.store import ActivationStore
    from taskdepth.models import loading
    from taskdepth.pipelines.bases import Bases
    from taskdepth.pipelines.roster import roster
    from taskdepth.pipelines.study import Study
    from taskdepth.tasks.spec import Kind, TaskSpec
    from taskdepth.types import Example, Split

    words = [f"w{i}" for i in range(200)]
    torch.manual_seed(0)
    architecture = transformers.LlamaConfig(
        num_hidden_layers=size.n_blocks,
        hidden_size=size.d_model,
        intermediate_size=256,
        num_attention_heads=size.d_model // 32,
        max_position_embeddings=256,
    )
    model = loading.build(architecture, [" ".join(words)] * 8, 400)
    model.lm.save_pretrained(place / "model")
    model.tokenizer.save_pretrained(place / "model")
    config.register()
    asked = [f"models.pretrained={place / 'model'}", f"paths.root={place}", "logger=none"]
    asked += ["extraction.accelerator=cpu", "extraction.poolings=[last_token,mean]"]
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        settings = config.resolve(compose("probe", [*asked, "stages=[extract]"]))
    specs = [TaskSpec(f"task{i}", "c", Kind.GENERATION) for i in range(size.n_tasks)]

    def examples(spec: TaskSpec, split: Split) -> list[Example]:
        generator = torch.Generator().manual_seed(specs.index(spec))
        shape = (size.n_rows if split is Split.TEST else 0, size.prompt_words)
        drawn = torch.randint(len(words), shape, generator=generator).tolist()
        return [
            Example(f"{spec.name}-{i}", spec.name, " ".join(words[k] for k in row), ("yes",))
            for i, row in enumerate(drawn)
        ]

    store = ActivationStore(place / "states", shard_rows=size.shard_rows)
    bases: Any = Bases(settings)
    study = Study(settings, specs, roster(settings, specs), examples, bases, store)
    bases.load(study.base_folder(study.models.compared[0]))
    return study


def main() -> None:
    """The process that `used_bytes` starts."""
    with tempfile.TemporaryDirectory() as folder:
        # what is set up once, and one whole shard, are not counted
        prepared(Path(folder) / "first", replace(WIDE, n_rows=2 * WIDE.shard_rows)).extract()
        study = prepared(Path(folder) / "then", replace(WIDE, n_rows=int(sys.argv[1])))
        before_bytes = peak_bytes()
        study.extract()
        print(json.dumps(peak_bytes() - before_bytes))


if __name__ == "__main__":
    main()
