"""What a similarity with a control model is held against: the ceiling, and the foils."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from taskdepth.config import ProbeConfig
from taskdepth.errors import ModelError
from taskdepth.models.reference import refer_controls
from taskdepth.seeds import stable_seed
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import ModelRef, Role


def yardsticks(
    config: ProbeConfig, specs: Sequence[TaskSpec], controls: Mapping[str, ModelRef]
) -> dict[str, tuple[ModelRef, ...]]:
    """For each task the control model of `models.ceiling`, and `similarity.foils` foils.

    Raises:
        ModelError: the ceiling was tuned with the seed of the control models, a task has no control
            model in it, or there are too few tasks for as many foils.
    """
    ceilings: dict[str, ModelRef] = {}
    path = config.models.ceiling
    if path is not None and config.models.controls is not None:
        _check_other_seed(Path(path), Path(config.models.controls))
        ceilings = {
            task: replace(ref, role=Role.CEILING, name=f"ceiling-{task}")
            for task, ref in refer_controls(path, [spec.name for spec in specs]).items()
        }
    return {
        spec.name: (
            *([ceilings[spec.name]] if ceilings else []),
            *_foils(config, spec, specs, controls),
        )
        for spec in specs
    }


def _check_other_seed(ceiling: Path, controls: Path) -> None:
    """Two runs with one seed are the same models, and as alike as can be."""
    records = [run / "config.yaml" for run in (ceiling, controls)]
    if not all(record.is_file() for record in records):
        return  # not runs of ours: nothing is known
    seeds = [yaml.safe_load(record.read_text(encoding="utf-8")).get("seed") for record in records]
    if seeds[0] is not None and seeds[0] == seeds[1]:
        raise ModelError(
            f"models.ceiling={ceiling} was tuned with seed {seeds[0]}, as models.controls was: "
            f"tune the ceiling with another, seed={seeds[0] + 1}"
        )


def _foils(
    config: ProbeConfig,
    spec: TaskSpec,
    specs: Sequence[TaskSpec],
    controls: Mapping[str, ModelRef],
) -> list[ModelRef]:
    """Control models of other tasks, of other clusters as far as there are any.

    The order of candidates hangs on the seed and the two names alone: another task in the study
    changes no more foils than it must.
    """
    n = config.similarity.foils
    others = sorted(
        (other for other in specs if other.name != spec.name),
        key=lambda other: (
            other.cluster == spec.cluster,
            stable_seed(config.seed, "foil", spec.name, other.name),
        ),
    )
    if n > len(others):
        raise ModelError(
            f"similarity.foils={n} asks for {n} other tasks, but there are {len(others)} beside "
            f"{spec.name}"
        )
    return [replace(controls[other.name], role=Role.FOIL) for other in others[:n]]
