"""What the probing benchmark fits: real activations of real tasks, or synthetic ones alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from taskdepth.errors import DataError
from taskdepth.types import Example, Split

if TYPE_CHECKING:
    from taskdepth.tasks.spec import TaskSpec

N_TASKS = 12
MAX_ROWS = 250  # of each task
# SmolLM2-135M: 31 depths of 576 dimensions
N_DEPTHS, D_MODEL = 31, 576
# label counts and training rows of small classification and multiple-choice tasks
SHAPES = (
    *((2, 246), (2, 230), (2, 243), (2, 247), (2, 253), (2, 239)),
    *((3, 148), (3, 234), (4, 240), (5, 244), (6, 245), (14, 222)),
)


@dataclass(frozen=True, slots=True, eq=False)
class BenchProblem:
    """One target at every depth; `x` are the standardised `states`."""

    name: str
    states: Float[Tensor, "n_depths n d"]
    x: Float[Tensor, "n_depths n d"]
    y: Int[Tensor, " n"]

    @property
    def n_classes(self) -> int:
        return int(self.y.max()) + 1


def synthetic(
    n_depths: int = N_DEPTHS, d_model: int = D_MODEL, shapes: tuple[tuple[int, int], ...] = SHAPES
) -> Iterator[BenchProblem]:
    """Tasks as those of a language model look.

    Variances fall off as a power law, all rows share an offset that is larger than they differ by,
    and the label shifts the mean in directions of middling variance.
    """
    generator = torch.Generator().manual_seed(0)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    scale = torch.arange(1, d_model + 1).float() ** -0.6  # the square root of a variance
    mixed = torch.linalg.qr(randn(n_depths, d_model, d_model)).Q
    offset, of_task = 5 * randn(n_depths, 1, d_model), randn(len(shapes), n_depths, 1, d_model)
    states, tasks = [], []
    for task, (n_classes, n) in enumerate(shapes):
        y = torch.arange(n) % n_classes  # every class has rows
        signal = torch.linspace(0, 2, n_depths)[:, None, None] * randn(n_depths, n_classes, d_model)
        x = ((randn(n_depths, n, d_model) + signal[:, y]) * scale) @ mixed
        x = x + offset + (of_task[task] * scale) @ mixed
        states.append(x)
        tasks.append(torch.full((n,), task))
        yield _problem(f"{n_classes} classes", x, y)
    yield _problem("task", torch.cat(states, dim=1), torch.cat(tasks))


def real(model: Path, data: Path) -> Iterator[BenchProblem]:
    """Training rows of the tasks in `data` with the shortest prompts, as `model` reads them.

    Raises:
        ModelError: `model` is no causal LM.
        DataError: `data` has no two tasks with labels.
    """
    from taskdepth.activations.extraction import extract
    from taskdepth.activations.pooling import Pooling
    from taskdepth.data.tokenise import PromptFormat, Tokeniser
    from taskdepth.models import loading

    tasks = _short_tasks(data)
    built = loading.load(loading.local_folder(str(model)), dtype="bfloat16")
    tokeniser = Tokeniser(built.tokenizer, PromptFormat(), built.window_tokens, 512)
    states, identities = [], []
    for task, (spec, rows) in enumerate(tasks):
        prompts = [tokeniser.prompt(row).input_ids for row in rows]
        x = extract(built.lm, prompts, poolings=[Pooling.LAST_TOKEN])[Pooling.LAST_TOKEN]
        seen = sorted({row.label for row in rows if row.label is not None})
        states.append(x)
        identities.append(torch.full((len(rows),), task))
        y = torch.tensor([seen.index(row.label) for row in rows if row.label is not None])
        yield _problem(spec.name, x, y)
    yield _problem("task", torch.cat(states, dim=1), torch.cat(identities))


def _short_tasks(data: Path) -> list[tuple[TaskSpec, list[Example]]]:
    """The tasks whose prompts are shortest, each with its labelled training rows."""
    from taskdepth.tasks.folder import FolderSource

    source = FolderSource(data)
    found: list[tuple[float, TaskSpec, list[Example]]] = []
    for spec in source.specs().values():
        every = source.examples(spec.name, Split.TRAIN) if spec.labels else []
        rows = [row for row in every if row.label is not None and not row.inverted][:MAX_ROWS]
        if len({row.label for row in rows}) > 1:
            found.append((sum(len(row.prompt) for row in rows) / len(rows), spec, rows))
    if len(found) < 2:
        raise DataError(f"{data} has no two tasks with labels to probe for")
    found.sort(key=lambda of_task: of_task[0])
    return [(spec, rows) for _, spec, rows in found[:N_TASKS]]


def _problem(name: str, states: Tensor, y: Tensor) -> BenchProblem:
    from taskdepth.probing.scaling import standardised

    every_row = torch.ones(len(y), dtype=torch.bool)
    return BenchProblem(name, states, standardised(states, every_row), y)
