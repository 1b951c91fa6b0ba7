"""The extract stage: models × tasks × splits into the `ActivationStore`, what is there already is kept."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
import yaml

from taskdepth import ranks, terminal
from taskdepth.activations.extraction import Adapted, extract_each
from taskdepth.activations.key import key_of
from taskdepth.activations.memory import HeldActivations, MemoryRecording, MemoryStore
from taskdepth.activations.plan import Cost, bytes_on_disk, forward_flops, measured_rate
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.recording import Recording, row_ranges
from taskdepth.activations.store import ActivationStore
from taskdepth.activations.stored import Activations, StoredActivations
from taskdepth.config import DataConfig, ProbeConfig
from taskdepth.data.tokenise import Tokeniser
from taskdepth.errors import ModelError
from taskdepth.models import adapters, loading, random_init, routing
from taskdepth.models.reference import refer, refer_controls
from taskdepth.pipelines.bases import Bases, Loaded
from taskdepth.pipelines.yardsticks import yardsticks
from taskdepth.seeds import stable_seed
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import Example, ModelRef, Role, Split

TOLD_ROWS = 5
ExamplesOf = Callable[[TaskSpec, Split], Sequence[Example]]


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


@dataclass(frozen=True, slots=True)
class Unit:
    """The rows of one split of one task, read by one model."""

    model: ModelRef
    base: Path
    example_ids: tuple[str, ...]
    prompts: tuple[tuple[int, ...], ...]
    first_targets: tuple[int, ...]  # empty unless they are read
    task: str
    split: Split
    key: str


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is dealt to a rank: some rows of a group of units that share their prompts."""

    group: int
    rows: range


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
        self._batch_tokens = config.extraction.batch_tokens
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
        groups = _groups(missing)
        pieces = [
            _Piece(number, rows)
            for number, units in enumerate(groups)
            for rows in row_ranges(len(units[0].prompts), self._store.shard_rows)
        ]
        ranks.in_shares(
            [_n_tokens(groups[piece.group], piece.rows) for piece in pieces],
            lambda share: self._extract_pieces(groups, [pieces[i] for i in share]),
        )
        if ranks.is_joined():  # shards of one unit may have come from several ranks
            ranks.in_shares([1.0] * len(missing), lambda share: self._close(missing, share))
        return sum(len(unit.prompts) for unit in missing)

    def _missing_keys(self) -> list[str]:
        missing = [unit.key for unit in self.missing()]
        for key in {unit.key for unit in self._units.values()}.difference(missing):
            self._store.tidy(key)
        return missing

    def _extract_pieces(
        self, groups: Sequence[Sequence[Unit]], pieces: Sequence[_Piece]
    ) -> list[None]:
        own: dict[int, list[range]] = defaultdict(list)
        for piece in pieces:
            own[piece.group].append(piece.rows)
        n_rows = sum(len(piece.rows) * len(groups[piece.group]) for piece in pieces)
        n_tokens = 0.0
        with terminal.progress("prompts") as progress:
            bar = progress.add_task("extract", total=n_rows, visible=n_rows > 0)
            for number, ranges in own.items():
                units = groups[number]
                loaded = self._bases.load(units[0].base)
                progress.update(bar, what=f"{units[0].task} ({units[0].split})")
                prompts = units[0].prompts
                tokens_per_row = sum(map(len, prompts)) / max(len(prompts), 1)

                def advance(rows: int, tokens_per_row: float = tokens_per_row) -> None:
                    nonlocal n_tokens
                    n_tokens += rows * tokens_per_row
                    progress.update(bar, advance=rows, tokens=n_tokens)

                self._extract(loaded, units, ranges, advance)
            progress.update(bar, what="")
        return [None] * len(pieces)

    def _close(self, units: Sequence[Unit], share: Sequence[int]) -> list[None]:
        """Finish what has all its shards and no manifest yet."""
        for unit in (units[i] for i in share):
            if self._store.manifest(unit.key) is None:
                self._record(unit).finish()
        return [None] * len(share)

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

    def _extract(
        self,
        loaded: Loaded,
        units: Sequence[Unit],
        ranges: Sequence[range],
        advance: Callable[[int], object],
    ) -> None:
        """Read the prompts of `ranges`, which `units` share, with each of their models, shard by shard."""
        settings, lm = self._config.extraction, loaded.model.lm
        # the model itself first: the others go on from it
        units = sorted(units, key=lambda unit: unit.model.adapter is not None)
        recordings = [self._record(unit) for unit in units]
        # a shard of other rows (of an earlier version) belongs to whom its first row does
        missing = [
            [rows for rows in recording.missing if any(_begins_in(rows, own) for own in ranges)]
            for recording in recordings
        ]
        advance(len(units) * sum(map(len, ranges)) - sum(len(r) for rs in missing for r in rs))
        for rows in sorted(
            {rows for ranges in missing for rows in ranges}, key=attrgetter("start")
        ):
            reading = [i for i, ranges in enumerate(missing) if rows in ranges]
            adapted = [
                _adapted(loaded, folder, units[i].task)
                for i in reading
                if (folder := units[i].model.adapter) is not None
            ]
            of_each = extract_each(
                lm,
                adapted,
                units[0].prompts[rows.start : rows.stop],
                itself=len(adapted) < len(reading),
                poolings=self._poolings,
                first_targets=units[0].first_targets[rows.start : rows.stop],
                batch_tokens=self._batch_tokens,
                pack=loaded.can_pack,
                padding_side=settings.padding_side,
                final_norm=settings.final_norm,
                advance=advance,
                halved=self._halve,
            )
            for i, states in zip(reading, of_each, strict=True):
                recordings[i].write(rows, states)
        for unit, recording in zip(units, recordings, strict=True):
            if not recording.missing:
                recording.finish()
                self._tell_not_finite(unit)

    def _tell_not_finite(self, unit: Unit) -> None:
        rows = sorted(self._store.open(unit.key).not_finite)
        if rows:
            told = [unit.example_ids[row] for row in rows[:TOLD_ROWS]]
            told += ["…"] if len(rows) > TOLD_ROWS else []
            print(
                f"{len(rows)} of {len(unit.prompts)} prompts of {unit.task} ({unit.split}) are left out of "
                f"probes and comparisons, {unit.model.name} has no numbers for them: {', '.join(told)}",
                file=sys.stderr,
            )

    def _halve(self, batch_tokens: int) -> None:
        """From here on, since what did not fit once will not fit again."""
        self._batch_tokens = batch_tokens
        print(
            f"out of memory: batches of {batch_tokens} tokens from here on "
            "(extraction.batch_tokens)",
            file=sys.stderr,
        )

    def _record(self, unit: Unit) -> Recording | MemoryRecording:
        settings = self._config.extraction
        about = {
            "model": unit.model.name,
            "role": str(unit.model.role),
            "task": unit.task,
            "split": str(unit.split),
            "norm": settings.final_norm,
            "dtype": settings.dtype,
        }
        recording = self._store.record(unit.key, unit.example_ids, about)
        for line in recording.damaged:
            print(f"extracted again: {line}", file=sys.stderr)
        return recording

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


def _adapted(loaded: Loaded, folder: Path, task: str) -> Adapted:
    lm = loaded.model.lm
    first_block = adapters.first_block(lm, folder) if loaded.can_resume else 0
    return Adapted(partial(adapters.worn, lm, folder, task), first_block)


def _groups(units: Sequence[Unit]) -> list[list[Unit]]:
    """Units that share prompts and base, those of the same base one after the other."""
    together: dict[tuple[Path, str, Split], list[Unit]] = defaultdict(list)
    for unit in units:
        together[unit.base, unit.task, unit.split].append(unit)
    bases = list(dict.fromkeys(unit.base for unit in units))
    return [group for base in bases for (of_base, *_), group in together.items() if of_base == base]


def _begins_in(rows: range, own: range) -> bool:
    return rows.start == own.start or rows.start in own


def _n_tokens(group: Sequence[Unit], rows: range) -> float:
    return len(group) * sum(len(group[0].prompts[i]) for i in rows)
