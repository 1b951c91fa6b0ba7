"""The models of a study: found by their names, none of them loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from taskdepth.config import DataConfig, ProbeConfig
from taskdepth.errors import ModelError
from taskdepth.models import loading, random_init
from taskdepth.models.reference import refer, refer_controls
from taskdepth.pipelines.yardsticks import yardsticks
from taskdepth.seeds import stable_seed
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import ModelRef, Role


@dataclass(frozen=True, slots=True)
class Roster:
    """The models of one study: those compared, the control model of each task, and those only probed.

    `yardsticks` are what else is compared with a task's control model: the one of another seed, and
    those of other tasks.
    """

    compared: tuple[ModelRef, ...]  # pre-trained, experimental
    controls: dict[str, ModelRef]
    beside: tuple[ModelRef, ...] = ()  # randomly initialised
    yardsticks: dict[str, tuple[ModelRef, ...]] = field(default_factory=dict)

    @property
    def probed(self) -> tuple[ModelRef, ...]:
        """The models that linear probes read."""
        return (*self.compared, *self.beside)

    def of_task(self, task: str) -> tuple[ModelRef, ...]:
        """Every model that reads this task's prompts."""
        control = (self.controls[task],) if task in self.controls else ()
        return (*self.probed, *control, *self.yardsticks.get(task, ()))

    def against_control(self, task: str) -> tuple[ModelRef, ...]:
        """Every model that is compared with this task's control model."""
        return (*self.compared, *self.yardsticks.get(task, ()))


def roster(config: ProbeConfig, specs: Sequence[TaskSpec]) -> Roster:
    """Find every model that is named; nothing is loaded. A randomly initialised one is made, once.

    Raises:
        ModelError: one of them is not there, or was tuned on prompts dressed in another way.
    """
    models = config.models
    for path in (models.experimental, models.controls, models.ceiling):
        if path is not None:
            _check_prompt_format(Path(path), config.data)
    compared = []
    if models.pretrained is not None:
        compared.append(refer(models.pretrained, Role.PRETRAINED))
    if models.experimental is not None:
        compared.append(refer(models.experimental, Role.EXPERIMENTAL))
    controls = {}
    if models.controls is not None:
        controls = refer_controls(models.controls, [spec.name for spec in specs])
    beside = (_random_init(config, compared[0]),) if config.probe.random_init else ()
    return Roster(tuple(compared), controls, beside, yardsticks(config, specs, controls))


def _random_init(config: ProbeConfig, like: ModelRef) -> ModelRef:
    models = config.models
    folder = random_init.saved(
        loading.local_folder(like.path, models.revision, models.trust_remote_code),
        Path(config.paths.activations),
        stable_seed(config.seed, "random init"),
        trust_remote_code=models.trust_remote_code,
    )
    return ModelRef(Role.RANDOM_INIT, "random-init", str(folder))


def _check_prompt_format(run: Path, data: DataConfig) -> None:
    """A model is probed on prompts as it was tuned on, or the difference is that of the prompts."""
    record = run / "config.yaml"
    if not record.is_file():
        return  # not a run of ours: nothing is known
    tuned = yaml.safe_load(record.read_text(encoding="utf-8"))["data"]
    if tuned["prompt_template"] != data.prompt_template:
        raise ModelError(
            f"{run} was tuned with data.prompt_template={tuned['prompt_template']!r}, "
            f"probing would use {data.prompt_template!r}: set it to the same"
        )
