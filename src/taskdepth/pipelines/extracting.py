"""The extract stage: units into the `ActivationStore`, their rows dealt over the ranks."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path

from taskdepth import ranks, terminal
from taskdepth.activations.extraction import Adapted, extract_each
from taskdepth.activations.memory import MemoryRecording, MemoryStore
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.recording import Recording, row_ranges
from taskdepth.activations.store import ActivationStore
from taskdepth.config import ExtractionConfig
from taskdepth.models import adapters
from taskdepth.pipelines.bases import Bases, Loaded
from taskdepth.pipelines.unit import Unit
from taskdepth.types import Split

TOLD_ROWS = 5


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is dealt to a rank: some rows of a group of units that share their prompts."""

    group: int
    rows: range


class Extractor:
    """Reads units with their models and leaves what they read in `store`."""

    def __init__(
        self, settings: ExtractionConfig, bases: Bases, store: ActivationStore | MemoryStore
    ) -> None:
        self._settings = settings
        self._poolings = [Pooling(name) for name in settings.poolings]
        self._bases = bases
        self._store = store
        self._batch_tokens = settings.batch_tokens

    def extract(self, missing: Sequence[Unit]) -> None:
        """Extract units of which something is missing; every rank calls it with the same ones."""
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

    def _extract(
        self,
        loaded: Loaded,
        units: Sequence[Unit],
        ranges: Sequence[range],
        advance: Callable[[int], object],
    ) -> None:
        """Read the prompts of `ranges`, which `units` share, with each of their models, shard by shard."""
        settings, lm = self._settings, loaded.model.lm
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
        settings = self._settings
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
