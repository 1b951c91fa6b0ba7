"""From `config.adapter` to a model that wears it: what depends on the run is filled in here."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from taskdepth import layers
from taskdepth.config import TrainConfig, instantiate
from taskdepth.data.collate import pad
from taskdepth.data.module import PlainTextDataModule, TaskDataModule
from taskdepth.models import adalora, adapters, starts
from taskdepth.models.budget import with_ranks
from taskdepth.models.loading import LanguageModel
from taskdepth.pipelines.fitting import n_steps
from taskdepth.seeds import stable_seed
from taskdepth.tasks.spec import TaskSpec

if TYPE_CHECKING:
    from peft import PeftModel

CALIBRATION_BATCH_ROWS = 8


def adapt(
    config: TrainConfig,
    model: LanguageModel,
    specs: Sequence[TaskSpec],
    data: TaskDataModule | PlainTextDataModule,
    blocks: Sequence[int] | None,
    ranks: Mapping[int, int] | None = None,
) -> PeftModel:
    """`model.lm` with the adapter that `config.adapter.peft` describes, in `blocks` with these `ranks`.

    AdaLoRA is told how many steps the run has, Poly which tasks there are, EVA and CorDA get rows to read.

    Raises:
        ConfigError: the PEFT config cannot be built, a block does not exist, or the adapter has no ranks.
        ModelError: PEFT cannot adapt this model.
    """
    node: dict[str, Any] = config.adapter.peft
    filled: dict[str, int] = {}
    if str(node.get("_target_", "")).endswith("AdaLoraConfig"):
        filled = adalora.times(n_steps(config, len(data.train_dataloader())), node)
    peft_config = instantiate({**node, **filled})
    if ranks is not None:
        peft_config = with_ranks(peft_config, layers.blocks_path(model.lm), ranks)
    calibration: starts.Calibration = ()
    if starts.kind(peft_config) in starts.FROM_DATA:
        if config.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
            model.lm.to("cuda")  # Lightning would do so, but only later
        calibration = _calibration(data, config.adapter.calibration_rows, config.seed)
    return adapters.attach(
        model.lm,
        peft_config,
        blocks,
        tasks=[spec.name for spec in specs],
        calibration=calibration,
    )


def _calibration(
    data: TaskDataModule | PlainTextDataModule, n_rows: int, seed: int
) -> starts.Calibration:
    """Some training rows, drawn over all tasks, the same ones in every run of a seed."""
    rows = data.training.rows
    rng = random.Random(stable_seed(seed, "calibration"))
    chosen = rng.sample(rows, min(n_rows, len(rows)))
    n_batches = -(-len(chosen) // CALIBRATION_BATCH_ROWS)
    batches = []
    for i in range(n_batches):  # of even sizes: EVA has use for a batch only if it has many tokens
        ids, mask = pad([row.input_ids for row in chosen[i::n_batches]])
        batches.append({"input_ids": ids, "attention_mask": mask})
    return batches
