"""`TaskDataModule`: what Lightning trains and validates on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import lightning

from taskdepth.data.batches import ScoringBatches, TrainBatches
from taskdepth.data.mixture import Mixture
from taskdepth.data.tokenise import TokenisedRow, Tokeniser
from taskdepth.errors import DataError
from taskdepth.tasks.spec import Source, TaskSpec
from taskdepth.types import Example, Split

# room for the answers of an example beside the rows of a training batch
SCORED_ROWS_PER_EXAMPLE = 4


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """What is learnt, and what was lost on the way."""

    rows: tuple[TokenisedRow, ...]
    dropped_rows: int  # the target alone does not fit

    def counts(self) -> dict[str, int]:
        """For metrics.json."""
        return {
            "rows": len(self.rows),
            "tokens": sum(row.n_tokens for row in self.rows),
            "target_tokens": sum(row.n_tokens - row.n_prompt_tokens for row in self.rows),
            "truncated_prompts": sum(row.n_cut_tokens > 0 for row in self.rows),
            "dropped_rows": self.dropped_rows,
        }


class TaskDataModule(lightning.LightningDataModule):
    """The rows of `specs`, tokenised: the mixture for training, up to some rows a task for validation.

    Raises:
        DataError: a task has no training rows, or none of them fits.
    """

    def __init__(
        self,
        source: Source,
        specs: Sequence[TaskSpec],
        tokeniser: Tokeniser,
        mixture: Mixture,
        *,
        batch_size_examples: int,
        seed: int,
        val_examples_per_task: int | None = None,
    ) -> None:
        super().__init__()
        self._source = source
        self._specs = specs
        self._tokeniser = tokeniser
        self._mixture = mixture
        self._batch_size = batch_size_examples
        self._seed = seed
        self._val_examples = val_examples_per_task

    @cached_property
    def training(self) -> TrainingRows:
        rows = {spec.name: load(self._source, spec, Split.TRAIN) for spec in self._specs}
        examples = self._mixture.draw(rows, self._specs, self._seed)
        tokenised = [self._tokeniser.row(example) for example in examples]
        kept = tuple(row for row in tokenised if row is not None)
        if not kept:
            raise DataError("no training row fits data.max_length_tokens")
        return TrainingRows(kept, len(tokenised) - len(kept))

    @cached_property
    def _validation(self) -> ScoringBatches:
        chosen = [
            example
            for spec in self._specs
            for example in list(self._source.examples(spec.name, Split.VALIDATION))[
                : self._val_examples
            ]
        ]
        n_rows = self._batch_size * SCORED_ROWS_PER_EXAMPLE
        return ScoringBatches(chosen, self._specs, self._tokeniser, n_rows)

    def train_dataloader(self) -> Any:
        index = {spec.name: i for i, spec in enumerate(self._specs)}
        return TrainBatches(self.training.rows, index, self._batch_size, self._seed)

    def val_dataloader(self) -> Any:
        return self._validation if len(self._validation) else []


class PlainTextDataModule(lightning.LightningDataModule):
    """Running text, all tokens learnt: what gives a random model something to be "pre-trained" with."""

    def __init__(
        self, source: Source, tokeniser: Tokeniser, *, batch_size_examples: int, seed: int
    ) -> None:
        super().__init__()
        length_tokens = tokeniser.max_length_tokens or tokeniser.window_tokens
        rows = tokeniser.running(source.plain_text(Split.TRAIN), length_tokens)
        self.training = TrainingRows(tuple(rows), dropped_rows=0)
        self._batch_size = batch_size_examples
        self._seed = seed

    def train_dataloader(self) -> Any:
        return TrainBatches(self.training.rows, {"plain_text": 0}, self._batch_size, self._seed)

    def val_dataloader(self) -> Any:
        return []


def load(source: Source, spec: TaskSpec, split: Split) -> list[Example]:
    """The rows of a split that must not be empty.

    Raises:
        DataError: it is.
    """
    examples = list(source.examples(spec.name, split))
    if not examples:
        raise DataError(f"task {spec.name} has no {split.value} rows")
    return examples
