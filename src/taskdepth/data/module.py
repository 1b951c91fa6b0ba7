"""`TaskDataModule`: what Lightning trains and validates on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

import lightning
from rich.progress import track

from taskdepth import ranks
from taskdepth.data.batches import Batching, ScoringBatches, TrainBatches
from taskdepth.data.digest import RowDigest
from taskdepth.data.mixture import Draws
from taskdepth.data.rows import count, pick, usable
from taskdepth.data.token_rows import TokenRows
from taskdepth.data.tokenise import Tokeniser
from taskdepth.errors import DataError
from taskdepth.tasks.spec import Source, TaskSpec
from taskdepth.types import Example, Split

# room for the answers of an example beside the rows of a training batch
SCORED_ROWS_PER_EXAMPLE = 4


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """What is learnt, and what was lost on the way."""

    rows: TokenRows
    dropped_rows: int  # the target alone does not fit
    inverted_rows: Mapping[str, int] = field(default_factory=dict)  # by task
    digests: Mapping[str, str] = field(
        default_factory=dict
    )  # by task: the content of what was drawn

    def name_of(self, number: int) -> tuple[str, str]:
        """The task and the example of a row."""
        row = self.rows[number]
        return row.task, row.example_id

    def counts(self) -> dict[str, int]:
        """For metrics.json."""
        lost = {
            "dropped_rows": self.dropped_rows,
            "inverted_rows": sum(self.inverted_rows.values()),
        }
        return {**self.rows.counts(), **lost}

    def counts_by_task(self) -> dict[str, dict[str, int]]:
        """Task → what was drawn of it; `inverted_rows` are learnt like any other."""
        return {
            task: {**counts, "inverted_rows": self.inverted_rows.get(task, 0)}
            for task, counts in self.rows.counts_by_task().items()
        }


class TaskDataModule(lightning.LightningDataModule):
    """The rows of `specs`, tokenised: the mixture for training, up to some rows a task for validation.

    The tasks of `unseen` are validated on and not trained on. Rows of inverted templates are trained on,
    but not validated on.

    Raises:
        DataError: a task has no training rows, or none of them fits.
    """

    def __init__(
        self,
        source: Source,
        specs: Sequence[TaskSpec],
        tokeniser: Tokeniser,
        mixture: Draws,
        *,
        batching: Batching,
        seed: int,
        val_examples_per_task: int | None = None,
        unseen: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._source = source
        self._specs = specs
        self._tokeniser = tokeniser
        self._mixture = mixture
        self.batching = batching
        self._seed = seed
        self._val_examples = val_examples_per_task
        self.unseen = frozenset(unseen)

    @cached_property
    def training(self) -> TrainingRows:
        specs = [spec for spec in self._specs if spec.name not in self.unseen]
        # rows are read twice, to be counted and to be tokenised: a corpus need not fit in memory
        n_rows = {spec.name: count(self._source, spec, Split.TRAIN) for spec in specs}
        drawn = self._mixture.draw(n_rows, specs, self._seed)
        if not any(drawn.values()):
            raise DataError(f"the mixture leaves no row of {', '.join(n_rows)}")
        rows, dropped = TokenRows(), 0
        inverted: Counter[str] = Counter()
        digests = {spec.name: RowDigest() for spec in specs}
        # a corpus of sixty tasks takes minutes; one task (a control model) is not worth a bar
        for spec in track(specs, "tokenise", transient=True, disable=len(specs) < 2):
            chosen = pick(self._source.examples(spec.name, Split.TRAIN), drawn[spec.name])
            chosen = digests[spec.name].passing(chosen)
            for row in self._tokeniser.rows(_counted(chosen, inverted)):
                if row is None:
                    dropped += 1
                else:
                    rows.append(row)
        if not rows:
            raise DataError("no training row fits data.max_length_tokens")
        return TrainingRows(
            rows, dropped, inverted, {task: digest.hex for task, digest in digests.items()}
        )

    @cached_property
    def validation(self) -> ScoringBatches:
        """All validation batches; a rank validates on its own share of them."""
        chosen = [
            example
            for spec in self._specs
            for example in islice(
                usable(self._source.examples(spec.name, Split.VALIDATION)), self._val_examples
            )
        ]
        return ScoringBatches(
            chosen,
            self._specs,
            self._tokeniser,
            self.batching.examples * SCORED_ROWS_PER_EXAMPLE,
            self.batching.packed,
        )

    def train_dataloader(self) -> Any:
        index = {spec.name: i for i, spec in enumerate(self._specs)}
        return _own_batches(self.training.rows, index, self.batching, self._seed)

    def val_dataloader(self) -> Any:
        share = self.validation.of_rank(ranks.rank(), ranks.n_ranks())
        return share if len(share) else []


class PlainTextDataModule(lightning.LightningDataModule):
    """Running text, all tokens learnt: what gives a random model something to be "pre-trained" with."""

    def __init__(
        self, source: Source, tokeniser: Tokeniser, *, batching: Batching, seed: int
    ) -> None:
        super().__init__()
        length_tokens = tokeniser.max_length_tokens or tokeniser.window_tokens
        rows = tokeniser.running(source.plain_text(Split.TRAIN), length_tokens)
        self.training = TrainingRows(TokenRows(rows), dropped_rows=0)
        self.batching = batching
        self._seed = seed

    def train_dataloader(self) -> Any:
        return _own_batches(self.training.rows, {"plain_text": 0}, self.batching, self._seed)

    def val_dataloader(self) -> Any:
        return []


def _own_batches(
    rows: TokenRows, task_index: Mapping[str, int], batching: Batching, seed: int
) -> TrainBatches:
    return TrainBatches(
        rows, task_index, batching, seed, rank=ranks.rank(), n_ranks=ranks.n_ranks()
    )


def _counted(examples: Iterable[Example], inverted: Counter[str]) -> Iterator[Example]:
    for example in examples:
        inverted[example.task] += example.inverted
        yield example
