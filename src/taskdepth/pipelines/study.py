"""A study: which model reads which rows, and what was extracted of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import torch

from taskdepth import ranks
from taskdepth.activations.key import key_of
from taskdepth.activations.memory import HeldActivations, MemoryStore
from taskdepth.activations.plan import Cost, bytes_on_disk, forward_flops, measured_rate
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.store import ActivationStore
from taskdepth.activations.stored import Activations, StoredActivations
from taskdepth.config import ProbeConfig
from taskdepth.data.tokenise import Tokeniser
from taskdepth.errors import ModelError
from taskdepth.models import routing
from taskdepth.pipelines.bases import Bases
from taskdepth.pipelines.extracting import Extractor
from taskdepth.pipelines.roster import Roster
from taskdepth.pipelines.unit import Unit
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import Example, ModelRef, Role, Split

ExamplesOf = Callable[[TaskSpec, Split], Sequence[Example]]


class Study:
    """All units of a study: which model reads which rows, and under which key its states are kept.

    Raises:
        ModelError: a model is not there, or the compared models differ in their number of blocks.
        DataError: a prompt does not fit a model's window.
    """

    def __init__(
        self,
        config: ProbeConfig,
        specs: Sequence[TaskSpec],
        models: Roster,
        examples: ExamplesOf,
        bases: Bases,
        store: ActivationStore | MemoryStore,
    ) -> None:
        self.models = models
        self._config = config
        self._poolings = [Pooling(name) for name in config.extraction.poolings]
        self._bases = bases
        self._store = store
        self._extractor = Extractor(config.extraction, bases, store)
        self._left_out: dict[tuple[str, Split], frozenset[int]] = {}
        self._check_blocks()
        self._units = {
            (ref, spec.name, split): self._unit(ref, spec, split, examples)
            for spec in specs
            for ref in models.of_task(spec.name)
            for split in self._splits(ref)
        }

    @property
    def n_blocks(self) -> int:
        """L, the same for all compared models."""
        return int(self._bases.config_of(self.models.compared[0]).num_hidden_layers)

    def read(self, ref: ModelRef, task: str, split: Split) -> Activations:
        """What was extracted.

        Raises:
            ResultsError: nothing was.
        """
        return self._store.read(self._units[ref, task, split].key)

    def open(self, ref: ModelRef, task: str, split: Split) -> StoredActivations | HeldActivations:
        """The same, to be read in parts; raises as `read` does."""
        return self._store.open(self._units[ref, task, split].key)

    def left_out(self, task: str, split: Split) -> frozenset[int]:
        """The rows of which a probed model has a state that is no number: no probe reads them."""
        if (task, split) not in self._left_out:
            models = self.models.probed
            of_each = [self.open(ref, task, split).not_finite for ref in models]
            self._left_out[task, split] = frozenset().union(*of_each)
        return self._left_out[task, split]

    def base_folder(self, ref: ModelRef) -> Path:
        """Where the weights of the model are, or of the one under its adapter."""
        return self._bases.folder_of(ref.path)

    def prompts(self, ref: ModelRef, task: str, split: Split) -> tuple[tuple[int, ...], ...]:
        """The tokens that a model reads."""
        return self._units[ref, task, split].prompts

    def tokeniser(self, ref: ModelRef) -> Tokeniser:
        """What made them."""
        return self._bases.tokeniser_of(self._bases.folder_of(ref.path))

    def n_rows(self, task: str, splits: Sequence[str]) -> int:
        """How many rows a task has in `splits`."""
        ref = self.models.compared[0]
        return sum(len(self._units[ref, task, Split(split)].prompts) for split in splits)

    def manifests(self) -> dict[str, dict[str, Any]]:
        """Key → what the store says of it, for each unit that is there."""
        found = {}
        for unit in self._units.values():
            if (manifest := self._store.manifest(unit.key)) is not None:
                found[unit.key] = {
                    **manifest.about,
                    "n_rows": len(manifest.example_ids),
                    "n_depths": len(manifest.depths),
                    "d_model": manifest.d_model,
                    "stored_as": manifest.dtype,
                    "poolings": [str(pooling) for pooling in manifest.poolings],
                    "shards": [record.blake2b for record in manifest.shards],
                }
        return found

    def missing(self) -> list[Unit]:
        """The units that are not in the store yet."""
        return [unit for unit in self._units.values() if unit.key not in self._store]

    def extract(self, tasks: Collection[str] | None = None) -> int:
        """Extract what is missing (of `tasks`), one load per base model; returns how many rows that were.

        All models that read the same prompts with the same base read them together. Shards are dealt over
        the ranks by their tokens.
        """
        # one rank looks: another could already have begun to write
        keys = set(ranks.first_does(self._missing_keys))
        missing = [
            unit
            for unit in self._units.values()
            if unit.key in keys and (tasks is None or unit.task in tasks)
        ]
        self._extractor.extract(missing)
        return sum(len(unit.prompts) for unit in missing)

    def _missing_keys(self) -> list[str]:
        missing = [unit.key for unit in self.missing()]
        for key in {unit.key for unit in self._units.values()}.difference(missing):
            self._store.tidy(key)
        return missing

    def plan(self) -> tuple[list[Cost], float | None]:
        """What each model's missing units will cost, and the rate that was measured for it.

        Time is that of the first base model's rate; None when nothing is missing.
        """
        # a control model that is a foil elsewhere is one model
        by_model: dict[str, list[Unit]] = defaultdict(list)
        for unit in self.missing():
            by_model[unit.model.name].append(unit)
        if not by_model:
            return [], None
        first = self._bases.load(next(iter(by_model.values()))[0].base)
        prompts = [unit.prompts for unit in self.missing()]
        rate = measured_rate(first.model.lm, prompts, self._poolings, pack=first.can_pack)
        return [
            self._cost(name, units, self._bases.load(units[0].base).model.lm, rate)
            for name, units in sorted(by_model.items(), key=lambda item: item[1][0].base)
        ], rate

    def _cost(self, name: str, units: Sequence[Unit], lm: Any, rate: float) -> Cost:
        lengths = [len(prompt) for unit in units for prompt in unit.prompts]
        flops = forward_flops(lm, lengths)
        kept = 0
        if isinstance(self._store, ActivationStore):
            kept = bytes_on_disk(
                len(lengths),
                self.n_blocks + 1,
                lm.config.hidden_size,
                len(self._poolings),
                getattr(torch, self._config.extraction.store_dtype),
            )
        return Cost(name, len(lengths), sum(lengths), flops, flops / rate, kept)

    def _unit(self, ref: ModelRef, spec: TaskSpec, split: Split, examples: ExamplesOf) -> Unit:
        base = self._bases.folder_of(ref.path)
        if ref.adapter is not None:
            routing.check(ref.adapter, spec.name)
        rows = examples(spec, split)
        ids = tuple(example.example_id for example in rows)
        tokeniser = self._bases.tokeniser_of(base)
        prompts = tuple(tokeniser.prompt(example).input_ids for example in rows)
        first_targets: tuple[int, ...] = ()
        if Pooling.FIRST_TARGET in self._poolings:
            first_targets = tuple(tokeniser.first_target(example) for example in rows)
        read = tuple((*prompt, *first_targets[i : i + 1]) for i, prompt in enumerate(prompts))
        key = key_of(
            self._bases.hash_of(base, *([ref.adapter] if ref.adapter else [])),
            ids,
            read,
            poolings=self._poolings,
            dtype=self._config.extraction.dtype,
            final_norm=self._config.extraction.final_norm,
            stored_as=self._config.extraction.store_dtype,
        )
        return Unit(ref, base, ids, prompts, first_targets, spec.name, split, key)

    def _splits(self, ref: ModelRef) -> list[Split]:
        """Control models of any kind are compared only, the others probed too."""
        if ref.role in (Role.CONTROL, Role.CEILING, Role.FOIL):
            return [Split(name) for name in self._config.similarity.splits]
        return list(Split)

    def _check_blocks(self) -> None:
        counts = {
            ref.name: int(self._bases.config_of(ref).num_hidden_layers)
            for refs in (
                self.models.compared,
                self.models.controls.values(),
                *self.models.yardsticks.values(),
            )
            for ref in refs
        }
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{name} {n}" for name, n in list(counts.items())[:4])
            raise ModelError(f"models with different numbers of blocks cannot be compared: {said}")
