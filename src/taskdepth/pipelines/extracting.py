"""The extract stage: models × tasks × splits into the `ActivationStore`, what is there already is kept."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
import yaml

from taskdepth import terminal
from taskdepth.activations.extraction import Adapted, extract_each
from taskdepth.activations.key import hash_of_files, key_of
from taskdepth.activations.plan import Cost, bytes_on_disk, forward_flops, measured_rate
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.recording import Recording
from taskdepth.activations.store import ActivationStore
from taskdepth.activations.stored import Activations, StoredActivations
from taskdepth.config import DataConfig, ProbeConfig
from taskdepth.data.tokenise import Tokeniser
from taskdepth.errors import ModelError
from taskdepth.models import adapters, loading, random_init, routing
from taskdepth.models.loading import LanguageModel
from taskdepth.models.packing import can_pack
from taskdepth.models.prefix import can_resume
from taskdepth.models.reference import refer, refer_controls
from taskdepth.pipelines.sources import prompt_format
from taskdepth.seeds import stable_seed
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import Example, ModelRef, Role, Split

ExamplesOf = Callable[[TaskSpec, Split], Sequence[Example]]


@dataclass(frozen=True, slots=True)
class Roster:
    """The models of one study: those compared, the control model of each task, and those only probed."""

    compared: tuple[ModelRef, ...]  # pre-trained, experimental
    controls: dict[str, ModelRef]
    beside: tuple[ModelRef, ...] = ()  # randomly initialised

    @property
    def probed(self) -> tuple[ModelRef, ...]:
        """The models that linear probes read."""
        return (*self.compared, *self.beside)

    def of_task(self, task: str) -> tuple[ModelRef, ...]:
        """Every model that reads this task's prompts."""
        control = (self.controls[task],) if task in self.controls else ()
        return (*self.probed, *control)


def roster(config: ProbeConfig, specs: Sequence[TaskSpec]) -> Roster:
    """Find every model that is named; nothing is loaded. A randomly initialised one is made, once.

    Raises:
        ModelError: one of them is not there, or was tuned on prompts dressed in another way.
    """
    models = config.models
    for path in (models.experimental, models.controls):
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
    return Roster(tuple(compared), controls, beside)


def _random_init(config: ProbeConfig, like: ModelRef) -> ModelRef:
    models = config.models
    folder = random_init.saved(
        loading.local_folder(like.path, models.revision),
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


class Study:
    """All units of a study: which model reads which rows, and under which key its states are kept.

    Raises:
        ModelError: a model is not there, or the compared models differ in their number of blocks.
        DataError: a prompt does not fit a model's window.
    """

    def __init__(
        self, config: ProbeConfig, specs: Sequence[TaskSpec], models: Roster, examples: ExamplesOf
    ) -> None:
        self.models = models
        self._config = config
        self._poolings = [Pooling(name) for name in config.extraction.poolings]
        self._store = ActivationStore(
            Path(config.paths.activations), dtype=config.extraction.store_dtype
        )
        self._folder_of = cache(lambda path: loading.local_folder(path, config.models.revision))
        self._hash_of = cache(hash_of_files)
        self._tokeniser_of = cache(self._tokeniser)
        self._pack = self._resume = False  # until the model is there and has been tried
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
        return int(self._config_of(self.models.compared[0]).num_hidden_layers)

    def read(self, ref: ModelRef, task: str, split: Split) -> Activations:
        """What was extracted.

        Raises:
            ResultsError: nothing was.
        """
        return self._store.read(self._units[ref, task, split].key)

    def open(self, ref: ModelRef, task: str, split: Split) -> StoredActivations:
        """The same, to be read in parts; raises as `read` does."""
        return self._store.open(self._units[ref, task, split].key)

    def base_folder(self, ref: ModelRef) -> Path:
        """Where the weights of the model are, or of the one under its adapter."""
        return self._folder_of(ref.path)

    def prompts(self, ref: ModelRef, task: str, split: Split) -> tuple[tuple[int, ...], ...]:
        """The tokens that a model reads."""
        return self._units[ref, task, split].prompts

    def tokeniser(self, ref: ModelRef) -> Tokeniser:
        """What made them."""
        return self._tokeniser_of(self._folder_of(ref.path))

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

    def extract(self) -> int:
        """Extract what is missing, one load per base model; returns how many rows that were.

        All models that read the same prompts with the same base read them together.
        """
        together: dict[Path, dict[tuple[str, Split], list[Unit]]] = defaultdict(dict)
        missing = self.missing()
        for unit in missing:
            together[unit.base].setdefault((unit.task, unit.split), []).append(unit)
        n_rows = sum(len(unit.prompts) for unit in missing)
        n_tokens = 0.0
        with terminal.progress("prompts") as progress:
            bar = progress.add_task("extract", total=n_rows, visible=n_rows > 0)
            for base, groups in together.items():
                model = self._load(base)
                for (task, split), units in groups.items():
                    progress.update(bar, what=f"{task} ({split})")
                    prompts = units[0].prompts
                    tokens_per_row = sum(map(len, prompts)) / len(prompts)

                    def advance(rows: int, tokens_per_row: float = tokens_per_row) -> None:
                        nonlocal n_tokens
                        n_tokens += rows * tokens_per_row
                        progress.update(bar, advance=rows, tokens=n_tokens)

                    self._extract(model.lm, units, advance)
            progress.update(bar, what="")
        return n_rows

    def plan(self) -> tuple[list[Cost], float | None]:
        """What each model's missing units will cost, and the rate that was measured for it.

        Time is that of the first base model's rate; None when nothing is missing.
        """
        by_model: dict[ModelRef, list[Unit]] = defaultdict(list)
        for unit in self.missing():
            by_model[unit.model].append(unit)
        if not by_model:
            return [], None
        bases = {unit.base: unit for units in by_model.values() for unit in units}
        models = {base: self._load(base) for base in bases}
        first = next(iter(bases))
        prompts = [unit.prompts for unit in self.missing()]
        rate = measured_rate(models[first].lm, prompts, self._poolings, pack=self._pack)
        return [
            self._cost(ref, units, models[units[0].base].lm, rate)
            for ref, units in by_model.items()
        ], rate

    def _cost(self, ref: ModelRef, units: Sequence[Unit], lm: Any, rate: float) -> Cost:
        lengths = [len(prompt) for unit in units for prompt in unit.prompts]
        flops = forward_flops(lm, lengths)
        kept = bytes_on_disk(
            len(lengths),
            self.n_blocks + 1,
            lm.config.hidden_size,
            len(self._poolings),
            getattr(torch, self._config.extraction.store_dtype),
        )
        return Cost(ref.name, len(lengths), sum(lengths), flops, flops / rate, kept)

    def _load(self, base: Path) -> LanguageModel:
        model = loading.load(
            base,
            dtype=self._config.extraction.dtype,
            trust_remote_code=self._config.models.trust_remote_code,
        )
        model.lm.to(_device(self._config.extraction.accelerator))
        self._pack = can_pack(model.lm)
        self._resume = can_resume(model.lm)
        return model

    def _extract(self, lm: Any, units: Sequence[Unit], advance: Callable[[int], object]) -> None:
        """Read the prompts that `units` share with each of their models, shard by shard."""
        settings = self._config.extraction
        # the model itself first: the others go on from it
        units = sorted(units, key=lambda unit: unit.model.adapter is not None)
        recordings = [self._record(unit) for unit in units]
        missing = [recording.missing for recording in recordings]
        advance(sum(len(u.prompts) for u in units) - sum(len(r) for rs in missing for r in rs))
        for rows in sorted(
            {rows for ranges in missing for rows in ranges}, key=attrgetter("start")
        ):
            reading = [i for i, ranges in enumerate(missing) if rows in ranges]
            adapted = [
                self._adapted(lm, folder, units[i].task)
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
                batch_tokens=settings.batch_tokens,
                pack=self._pack,
                padding_side=settings.padding_side,
                final_norm=settings.final_norm,
                advance=advance,
            )
            for i, states in zip(reading, of_each, strict=True):
                recordings[i].write(rows, states)
        for recording in recordings:
            recording.finish()

    def _record(self, unit: Unit) -> Recording:
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

    def _adapted(self, lm: Any, folder: Path, task: str) -> Adapted:
        @contextmanager
        def wear() -> Iterator[None]:
            with (
                torch.no_grad(),
                adapters.loaded(lm, folder) as wearing,
                adapters.merged(wearing),
                routing.routed(wearing, task),
            ):
                yield

        return Adapted(wear, adapters.first_block(lm, folder) if self._resume else 0)

    def _unit(self, ref: ModelRef, spec: TaskSpec, split: Split, examples: ExamplesOf) -> Unit:
        base = self._folder_of(ref.path)
        if ref.adapter is not None:
            routing.check(ref.adapter, spec.name)
        rows = examples(spec, split)
        ids = tuple(example.example_id for example in rows)
        tokeniser = self._tokeniser_of(base)
        prompts = tuple(tokeniser.prompt(example).input_ids for example in rows)
        first_targets: tuple[int, ...] = ()
        if Pooling.FIRST_TARGET in self._poolings:
            first_targets = tuple(tokeniser.first_target(example) for example in rows)
        read = tuple((*prompt, *first_targets[i : i + 1]) for i, prompt in enumerate(prompts))
        key = key_of(
            self._hash_of(base) if ref.adapter is None else self._hash_of(base, ref.adapter),
            ids,
            read,
            poolings=self._poolings,
            dtype=self._config.extraction.dtype,
            final_norm=self._config.extraction.final_norm,
            stored_as=self._config.extraction.store_dtype,
        )
        return Unit(ref, base, ids, prompts, first_targets, spec.name, split, key)

    def _splits(self, ref: ModelRef) -> list[Split]:
        """Control models are compared only, the others probed too."""
        if ref.role is Role.CONTROL:
            return [Split(name) for name in self._config.similarity.splits]
        return list(Split)

    def _tokeniser(self, base: Path) -> Tokeniser:
        trust = self._config.models.trust_remote_code
        tokenizer = loading.load_tokenizer(base, trust_remote_code=trust)
        window = loading.window_tokens(
            loading.load_config(base, trust_remote_code=trust), tokenizer
        )
        data = self._config.data
        return Tokeniser(
            tokenizer,
            prompt_format(data),
            window,
            data.max_length_tokens,
        )

    def _config_of(self, ref: ModelRef) -> Any:
        return loading.load_config(
            self._folder_of(ref.path), trust_remote_code=self._config.models.trust_remote_code
        )

    def _check_blocks(self) -> None:
        counts = {
            ref.name: int(self._config_of(ref).num_hidden_layers)
            for ref in (*self.models.compared, *self.models.controls.values())
        }
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{name} {n}" for name, n in list(counts.items())[:4])
            raise ModelError(f"models with different numbers of blocks cannot be compared: {said}")


def _device(accelerator: str) -> torch.device:
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator in ("gpu", "cuda"):
        raise ModelError(f"extraction.accelerator={accelerator}: torch sees no GPU")
    return torch.device("cpu")
