"""`Batches`: prompts as input of a model, packed or padded, and where they are in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from taskdepth.activations.pooling import Places
from taskdepth.data.collate import pad, token_batches
from taskdepth.models.packing import Continued

LEAST_SHARED_TOKENS = 4  # fewer are computed faster than they are looked up


class Batches:
    """`sequences` of token ids, of which the first `prompt_tokens` are the prompt.

    `pack` puts them side by side in one row (`models.packing`), a beginning that several share once: prompts
    of a task often open with the same words. Otherwise they are padded on `padding_side`.
    """

    def __init__(
        self,
        sequences: Sequence[Sequence[int]],
        prompt_tokens: Sequence[int],
        *,
        padding_side: str = "right",
        pack: bool = False,
    ) -> None:
        self._sequences = [tuple(sequence) for sequence in sequences]
        self._prompt_tokens = prompt_tokens
        self._side = padding_side
        self._pack = pack

    def order(self, batch_tokens: int, rows: Sequence[int] | None = None) -> list[list[int]]:
        """Row numbers (of `rows`, or all) in batches of at most `batch_tokens` tokens, the largest first.

        To be packed, rows are put beside those that begin as they do.
        """
        lengths = [len(sequence) for sequence in self._sequences]
        wanted = range(len(lengths)) if rows is None else rows
        if not self._pack:
            places = token_batches([lengths[row] for row in wanted], batch_tokens)
            return [[wanted[place] for place in batch] for batch in places]
        packs: list[list[int]] = []
        filled_tokens = 0
        for row in sorted(wanted, key=lambda row: (self._sequences[row], row)):
            own_tokens = lengths[row] - (self._n_shared(packs[-1][-1], row) if packs else 0)
            if not packs or filled_tokens + own_tokens > batch_tokens:
                packs.append([])
                filled_tokens, own_tokens = 0, lengths[row]
            packs[-1].append(row)
            filled_tokens += own_tokens
        return sorted(packs, key=self.n_tokens, reverse=True)

    def n_tokens(self, rows: Sequence[int]) -> int:
        """That a model reads in one batch, without padding."""
        return sum(self._own_tokens(rows))

    def inputs(self, rows: Sequence[int], device: torch.device) -> tuple[dict[str, Any], Places]:
        """The model's arguments for one batch, and where its prompts are in the flattened states."""
        if self._pack:
            return self._packed(rows, device)
        sequences = [self._sequences[i] for i in rows]
        ids, mask = pad(sequences, self._side)
        starts = [
            row * ids.shape[1] + (0 if self._side == "right" else ids.shape[1] - len(sequence))
            for row, sequence in enumerate(sequences)
        ]
        # left padding shifts no position
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
        tokens = [
            torch.arange(start, start + len(sequence))
            for start, sequence in zip(starts, sequences, strict=True)
        ]
        return inputs, self._places(rows, tokens).to(device)

    def _packed(self, rows: Sequence[int], device: torch.device) -> tuple[dict[str, Any], Places]:
        """Each sequence goes on from the tokens that it shares with the one before it."""
        own = self._own_tokens(rows)
        ids: list[int] = []
        tokens: list[Tensor] = []
        for row, n_own in zip(rows, own, strict=True):
            n_shared = len(self._sequences[row]) - n_own
            new = torch.arange(len(ids), len(ids) + n_own)
            tokens.append(torch.cat([tokens[-1][:n_shared], new]) if n_shared else new)
            ids.extend(self._sequences[row][n_shared:])
        positions = [
            torch.arange(len(places) - n_own, len(places))
            for places, n_own in zip(tokens, own, strict=True)
        ]
        inputs: dict[str, Any] = {
            "input_ids": torch.tensor([ids]).to(device),
            "position_ids": torch.cat(positions).unsqueeze(0).to(device),
            "lengths_tokens": tuple(own),
            "continued": tuple(
                Continued(places.to(device)) if n_own < len(places) else None
                for places, n_own in zip(tokens, own, strict=True)
            ),
        }
        return inputs, self._places(rows, tokens).to(device)

    def _own_tokens(self, rows: Sequence[int]) -> list[int]:
        """How many tokens of each row of a batch are not there already."""
        before = [None, *rows][:-1] if self._pack else [None] * len(rows)
        return [
            len(self._sequences[row]) - (0 if last is None else self._n_shared(last, row))
            for last, row in zip(before, rows, strict=True)
        ]

    def _n_shared(self, before: int, row: int) -> int:
        """How many tokens `row` has in common with the row before it, if sharing them is worth while."""
        n = 0
        for a, b in zip(self._sequences[before], self._sequences[row], strict=False):
            if a != b:
                break
            n += 1
        return n if n >= LEAST_SHARED_TOKENS else 0

    def _places(self, rows: Sequence[int], tokens: Sequence[Int[Tensor, " _"]]) -> Places:
        return Places.of(tokens, [self._prompt_tokens[i] for i in rows])
