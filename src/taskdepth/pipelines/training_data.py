"""From the tasks of a run to the rows and batches that its models learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console

from taskdepth.config import TrainConfig
from taskdepth.data.batches import Batching
from taskdepth.data.control_rows import ControlRows
from taskdepth.data.mixture import Draws, Mixture
from taskdepth.data.module import PlainTextDataModule, TaskDataModule
from taskdepth.data.tokenise import Tokeniser
from taskdepth.models.loading import LanguageModel
from taskdepth.models.packing import can_pack
from taskdepth.pipelines.sources import prompt_format
from taskdepth.pipelines.training_inputs import TrainingInputs
from taskdepth.tasks.spec import Source, TaskSpec
from taskdepth.types import Role


@dataclass(frozen=True, slots=True)
class TrainingData:
    """How rows are drawn, tokenised and batched, whichever tasks are chosen."""

    source: Source
    unseen: Sequence[str]
    tokeniser: Tokeniser
    draws: Draws
    batching: Batching
    seed: int
    val_examples_per_task: int | None

    def of_tasks(self, specs: Sequence[TaskSpec]) -> TaskDataModule:
        """The rows of `specs`; raises as `TaskDataModule` does."""
        return TaskDataModule(
            self.source,
            specs,
            self.tokeniser,
            self.draws,
            batching=self.batching,
            seed=self.seed,
            val_examples_per_task=self.val_examples_per_task,
            unseen=self.unseen,
        )

    def of_plain_text(self) -> PlainTextDataModule:
        """The source's running text, for pre-training."""
        return PlainTextDataModule(
            self.source, self.tokeniser, batching=self.batching, seed=self.seed
        )


def training_data(
    config: TrainConfig, inputs: TrainingInputs, model: LanguageModel, console: Console
) -> TrainingData:
    """As `config` asks; the console is told where the model cannot have its rows packed."""
    return TrainingData(
        source=inputs.source,
        unseen=inputs.unseen,
        tokeniser=Tokeniser(
            model.tokenizer,
            prompt_format(config.data),
            model.window_tokens,
            config.data.max_length_tokens,
        ),
        draws=_draws(config, inputs),
        batching=_batching(config, model, console),
        seed=config.seed,
        val_examples_per_task=config.trainer.val_examples_per_task,
    )


def _draws(config: TrainConfig, inputs: TrainingInputs) -> Draws:
    rates = asdict(config.mixture)
    del rates["unseen"]
    rates["weights"] = rates["weights"] or {}
    mixture = Mixture(**rates)
    if config.role == Role.CONTROL:
        return ControlRows(mixture, inputs.source, inputs.specs, config.control.match)
    return mixture


def _batching(config: TrainConfig, model: LanguageModel, console: Console) -> Batching:
    settings = config.trainer
    routed = "Poly" in str((config.adapter.peft or {}).get("_target_"))  # by task, row by row
    packed = settings.packing and not settings.compile and not routed
    if packed and not can_pack(model.lm):
        packed = False
        console.print(
            f"{type(model.lm).__name__} cannot keep packed examples apart: they are padded"
        )
    return Batching(
        settings.batch_size_examples,
        settings.batch_tokens,
        packed,
        settings.accumulate_batches,
        settings.loss_balance,
    )
