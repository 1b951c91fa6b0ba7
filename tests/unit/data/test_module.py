from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

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


SPECS = {
    "a": TaskSpec("a", "x", Kind.CLASSIFICATION, ("no", "yes")),
    "b": TaskSpec("b", "x", Kind.GENERATION),
    "c": TaskSpec("c", "y", Kind.GENERATION),
}


class Tasks:
    """Three tasks of 6, 12 and 4 training rows; of the first, every second row is inverted."""

    def specs(self) -> dict[str, TaskSpec]:
        return SPECS

    def examples(self, task: str, split: Split) -> list[Example]:
        n = {"a": 6, "b": 12, "c": 4}[task] if split is Split.TRAIN else 5
        return [
            Example(f"{task}-{split}-{i}", task, f"A dog {i}", ("yes",), inverted=i % 2 > 0)
            if task == "a"
            else Example(f"{task}-{split}-{i}", task, f"A cat {i}", ("cat",))
            for i in range(n)
        ]

    def skipped(self) -> dict[str, list[str]]:
        return {}

    def plain_text(self, split: Split) -> list[str]:
        return []


def mixed(tiny: LanguageModel, mixture: Mixture, unseen: Sequence[str] = ()) -> TaskDataModule:
    tokeniser = Tokeniser(tiny.tokenizer, PromptFormat(), 128)
    return TaskDataModule(
        Tasks(),
        list(SPECS.values()),
        tokeniser,
        mixture,
        batching=Batching(4),
        seed=0,
        unseen=unseen,
    )


def validated(data: TaskDataModule) -> Counter[int]:
    """Task index → its validation rows."""
    return Counter(i for batch in data.val_dataloader() for i in batch.task_index.tolist())


def trained(data: TaskDataModule) -> Counter[int]:
    return Counter(i for batch in data.train_dataloader() for i in batch.task_index.tolist())


def test_unseen_tasks_are_validated_on_and_not_trained_on(tiny: LanguageModel) -> None:
    data = mixed(tiny, Mixture(), unseen=["b"])
    assert {row.task for row in data.training.rows} == {"a", "c"}
    assert trained(data) == {0: 6, 2: 4}, "tasks keep their numbers"
    assert validated(data) == {0: 3, 1: 5, 2: 5}
    assert data.unseen == {"b"}


def test_inverted_rows_are_trained_on_and_not_validated_on(tiny: LanguageModel) -> None:
    data = mixed(tiny, Mixture())
    assert trained(data) == {0: 6, 1: 12, 2: 4}
    assert validated(data) == {0: 3, 1: 5, 2: 5}


@pytest.mark.parametrize(
    ("mixture", "expected"),
    [
        (Mixture(cap_per_task_examples=5), {"a": 5, "b": 5, "c": 4}),
        (Mixture(cap_per_cluster_examples=6), {"a": 2, "b": 4, "c": 4}),
        (Mixture(rates="uniform", epoch_examples=30), {"a": 10, "b": 10, "c": 10}),
        (
            Mixture(rates="weights", weights={"a": 0, "b": 1, "c": 3}, epoch_examples=16),
            {"b": 4, "c": 12},
        ),
    ],
)
def test_the_mixture_arrives(
    tiny: LanguageModel, mixture: Mixture, expected: dict[str, int]
) -> None:
    data = mixed(tiny, mixture)
    counts = {task: c["rows"] for task, c in data.training.rows.counts_by_task().items()}
    assert counts == expected
    assert trained(data) == {list(SPECS).index(task): n for task, n in expected.items()}
    assert data.training.counts()["rows"] == sum(expected.values())
    # a task with more rows drawn than it has repeats them evenly
    times = Counter(row.example_id for row in data.training.rows if row.task == "c").values()
    assert max(times) - min(times) <= 1


def test_an_unseen_task_takes_nothing_from_the_mixture(tiny: LanguageModel) -> None:
    data = mixed(tiny, Mixture(rates="uniform", epoch_examples=20), unseen=["a"])
    assert trained(data) == {1: 10, 2: 10}


def test_plain_text_learns_every_token_but_the_first(tiny: LanguageModel) -> None:
    tokeniser = Tokeniser(tiny.tokenizer, PromptFormat(), 128, 16)
    data = PlainTextDataModule(Rows(), tokeniser, batching=Batching(4), seed=0)
    batch = next(iter(data.train_dataloader()))
    assert batch.is_target.sum() == sum(batch.lengths_tokens) - batch.n_examples
    assert data.val_dataloader() == []
