"""What a run of `train.py` reads, checked before a model is loaded and not after hours of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from taskdepth.config import TrainConfig
from taskdepth.data.rows import check_not_empty, load
from taskdepth.errors import ConfigError
from taskdepth.pipelines import starting_model
from taskdepth.pipelines.sources import open_source
from taskdepth.selection.placement import LayerSelection, check_fits
from taskdepth.tasks.spec import Source, TaskSpec, select_tasks
from taskdepth.types import Role, Split


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """The tasks, the model's files, and where the adapter goes.

    `unseen`: names of tasks that are kept out of training. `folder` is that of the model to start from, None
    for random weights. `blocks`: None for all; `rank_pattern`: block → rank, None for the adapter's own.
    """

    source: Source
    specs: Sequence[TaskSpec]
    unseen: Sequence[str]
    folder: Path | None
    blocks: Sequence[int] | None
    rank_pattern: Mapping[int, int] | None


def gather(config: TrainConfig) -> TrainingInputs:
    """Everything that `config` names.

    Raises:
        TaskdepthError: a task has no rows, a file or model is not there, or the selection does not fit.
    """
    source = open_source(config.data, config.seed)
    specs = select_tasks(source.specs(), config.tasks)
    unseen = _unseen(config, specs)
    _check_rows(config, source, specs, unseen)
    blocks, rank_pattern = config.adapter.blocks, None
    selection = (
        LayerSelection.read(Path(config.adapter.blocks_from))
        if config.adapter.blocks_from
        else None
    )
    folder = starting_model.folder_of(config.model)
    if selection is not None:
        check_fits(selection, starting_model.count_blocks(config.model, folder))
        blocks, rank_pattern = list(selection.blocks), selection.rank_pattern
        if rank_pattern is not None and config.role == Role.CONTROL:
            raise ConfigError(
                f"{config.adapter.blocks_from} gives ranks by block, which control models do not take: "
                "remove its rank_pattern, or name adapter.blocks"
            )
    if config.ckpt_path is not None and not Path(config.ckpt_path).is_file():
        raise ConfigError(f"ckpt_path={config.ckpt_path}: there is no such checkpoint")
    return TrainingInputs(source, specs, unseen, folder, blocks, rank_pattern)


def _unseen(config: TrainConfig, specs: Sequence[TaskSpec]) -> list[str]:
    if not config.mixture.unseen:
        return []
    chosen = {spec.name: spec for spec in specs}
    unseen = [spec.name for spec in select_tasks(chosen, config.mixture.unseen)]
    if len(unseen) == len(specs):
        raise ConfigError("mixture.unseen names every chosen task: nothing is left to train on")
    return unseen


def _check_rows(
    config: TrainConfig, source: Source, specs: Sequence[TaskSpec], unseen: Sequence[str]
) -> None:
    for spec in specs:
        if config.role != Role.PRETRAINED and spec.name not in unseen:
            check_not_empty(source, spec, Split.TRAIN)
        if config.evaluation.enabled:
            load(source, spec, Split(config.evaluation.split), limit=1)
        if config.placement.policies:
            load(source, spec, Split(config.placement.split), limit=1)
