"""Control models several at once: in every step each of them learns a batch of its own, on one model.

A task has its own data order, optimizer, schedule and end, all as if it were trained alone; which tasks share
its steps decides nothing but rounding. When one ends, the next takes its place. Whenever that happens a
checkpoint is written, so that after a kill the same tasks share their steps, and not even rounding differs.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning

from taskdepth.config import TrainConfig
from taskdepth.errors import TaskdepthError
from taskdepth.models import joint
from taskdepth.pipelines.begun import load, save
from taskdepth.pipelines.fitting import FitReport
from taskdepth.pipelines.learner import Learner
from taskdepth.pipelines.shared_steps import Together, Trainee
from taskdepth.pipelines.task_queue import TaskQueue
from taskdepth.tasks.spec import TaskSpec

if TYPE_CHECKING:
    from peft import PeftModel

PRECISIONS = ("32-true", "32", "bf16-mixed")  # that leave the adapters' weights as they are


def why_not(config: TrainConfig, wrapped: PeftModel) -> str | None:
    """Why control models of these settings are trained one after the other; None if they need not be."""
    settings = config.trainer
    if settings.compile:
        return "trainer.compile knows no rows of several adapters"
    if settings.options:
        return "trainer.options are Lightning's"
    if settings.precision not in PRECISIONS:
        return f"trainer.precision={settings.precision} would change the adapters' weights"
    return joint.why_not(wrapped)


def train_at_once(
    config: TrainConfig, lm: Any, queue: TaskQueue, trainee: Trainee, folder: Path
) -> Iterator[tuple[TaskSpec, FitReport | TaskdepthError]]:
    """Train what is free, `config.control.at_once` tasks in a step; yields each when it is saved or failed.

    How far they are is kept in `folder`, and it goes on from what is kept there.
    """
    fabric = lightning.Fabric(
        accelerator=config.trainer.accelerator,
        devices=1,
        precision=config.trainer.precision,  # type: ignore[arg-type]  # see PRECISIONS
    )
    lm.to(fabric.device)
    together = Together(config, lm, fabric)
    learners: list[Learner] = []

    def keep() -> None:
        save(folder, learners, queue.waiting)

    before = deque(_taken_back(queue, folder))
    while True:
        while len(learners) < config.control.at_once:
            spec, state = before.popleft() if before else (queue.take(), None)
            if spec is None:
                break
            try:
                learners.append(together.begin(spec, trainee))
            except TaskdepthError as error:
                yield spec, error
                continue
            if state is not None:
                learners[-1].load_state_dict(state)
        keep()
        if not learners:
            return
        for learner, failure in together.learn(learners, keep).items():
            learners.remove(learner)
            yield learner.spec, failure
        for learner in [learner for learner in learners if learner.is_done]:
            try:
                yield learner.spec, together.finish(learner, trainee)
            except TaskdepthError as error:
                yield learner.spec, error
            learners.remove(learner)


def _taken_back(queue: TaskQueue, folder: Path) -> Iterator[tuple[TaskSpec, dict[str, Any]]]:
    """The tasks that shared steps when their process ended, in their order, and how far each was."""
    begun, problems = load(folder)
    for problem in problems:
        print(f"not used: {problem}", file=sys.stderr)
    if begun is None:
        # with other neighbours what is left would differ by rounding
        queue.reopen(queue.names if problems else ())
        return
    queue.reopen([*begun.learners, *begun.waiting])  # what was done since is done again
    for name, state in begun.learners.items():
        if (spec := queue.take_back(name)) is not None:
            yield spec, state
