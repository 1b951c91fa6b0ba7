from __future__ import annotations

import pytest

from taskdepth.data.batches import Batching
from taskdepth.data.mixture import Mixture
from taskdepth.data.module import PlainTextDataModule, TaskDataModule
from taskdepth.data.rows import load
from taskdepth.data.tokenise import PromptFormat, Tokeniser
from taskdepth.errors import DataError
from taskdepth.models.loading import LanguageModel
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example, Split

SPEC = TaskSpec("t", "c", Kind.CLASSIFICATION, ("no", "yes"))


class Rows:
    """A source of one task."""

    def __init__(self, **splits: int) -> None:
        self._n = splits

    def specs(self) -> dict[str, TaskSpec]:
        return {"t": SPEC}

    def examples(self, task: str, split: Split) -> list[Example]:
        n = self._n.get(split.value, 0)
        return [
            Example(f"{split}-{i}", task, "A dog " * (i + 1), ("yes",), "yes") for i in range(n)
        ]

    def skipped(self) -> dict[str, list[str]]:
        return {}

    def plain_text(self, split: Split) -> list[str]:
        return ["A dog runs."] * 20


def module(tiny: LanguageModel, source: Rows, max_length: int | None = None) -> TaskDataModule:
    tokeniser = Tokeniser(tiny.tokenizer, PromptFormat(), 128, max_length)
    return TaskDataModule(
        source, [SPEC], tokeniser, Mixture(), batching=Batching(2), seed=0, val_examples_per_task=3
    )


def test_counts_say_what_was_cut_and_dropped(tiny: LanguageModel) -> None:
    counts = module(tiny, Rows(train=5), max_length=20).training.counts()
    whole = module(tiny, Rows(train=5)).training.counts()
    assert whole["rows"] == counts["rows"] == 5
    assert whole["truncated_prompts"] == 0
    assert 0 < counts["truncated_prompts"] < 5
    assert counts["tokens"] < whole["tokens"]
    assert counts["target_tokens"] == whole["target_tokens"]


def test_validation_takes_some_rows_a_task_and_may_be_empty(tiny: LanguageModel) -> None:
    batches = module(tiny, Rows(train=1, validation=9)).val_dataloader()
    assert sum(len(batch.task_index) for batch in batches) == 3
    assert module(tiny, Rows(train=1)).val_dataloader() == []


def test_an_empty_split_is_named(tiny: LanguageModel) -> None:
    with pytest.raises(DataError, match="task t has no train rows"):
        _ = module(tiny, Rows(test=1)).training
    with pytest.raises(DataError, match="task t has no test rows"):
        load(Rows(train=1), SPEC, Split.TEST)


def test_nothing_that_fits_is_an_error(tiny: LanguageModel) -> None:
    with pytest.raises(DataError, match="no training row fits"):
        _ = module(tiny, Rows(train=3), max_length=8).training


def test_plain_text_learns_every_token_but_the_first(tiny: LanguageModel) -> None:
    tokeniser = Tokeniser(tiny.tokenizer, PromptFormat(), 128, 16)
    data = PlainTextDataModule(Rows(), tokeniser, batching=Batching(4), seed=0)
    batch = next(iter(data.train_dataloader()))
    assert batch.is_target.sum() == sum(batch.lengths_tokens) - batch.n_examples
    assert data.val_dataloader() == []
