"""`Batches`: prompts as input of a model, packed or padded, and where they are in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from taskdepth.activations.pooling import Places
from taskdepth.data.collate import best_fit_decreasing, pad, token_batches


class Batches:
    """`sequences` of token ids, of which the first `prompt_tokens` are the prompt.

    `pack` puts them side by side in one row (`models.packing`); otherwise they are padded on
    `padding_side`.
    """

    def __init__(
        self,
        sequences: Sequence[Sequence[int]],
        prompt_tokens: Sequence[int],
        *,
        padding_side: str = "right",
        pack: bool = False,
    ) -> None:
        self._sequences = sequences
        self._prompt_tokens = prompt_tokens
        self._side = padding_side
        self._pack = pack

    def order(self, batch_tokens: int) -> list[list[int]]:
        """Row numbers in batches of at most `batch_tokens` tokens, the longest rows first."""
        lengths = [len(sequence) for sequence in self._sequences]
        if self._pack:
            return best_fit_decreasing(lengths, batch_tokens)
        return token_batches(lengths, batch_tokens)

    def n_tokens(self, rows: Sequence[int]) -> int:
        """Of one batch, without padding."""
        return sum(len(self._sequences[i]) for i in rows)

    def inputs(self, rows: Sequence[int], device: torch.device) -> tuple[dict[str, Any], Places]:
        """The model's arguments for one batch, and where its prompts are in the flattened states."""
        sequences = [self._sequences[i] for i in rows]
        lengths = [len(sequence) for sequence in sequences]
        prompt_tokens = [self._prompt_tokens[i] for i in rows]
        if self._pack:
            starts = [0, *torch.tensor(lengths).cumsum(0).tolist()[:-1]]
            inputs: dict[str, Any] = {
                "input_ids": torch.tensor([[token for s in sequences for token in s]]),
                "position_ids": torch.cat([torch.arange(n) for n in lengths]).unsqueeze(0),
            }
        else:
            ids, mask = pad(sequences, self._side)
            starts = [
                row * ids.shape[1] + (0 if self._side == "right" else ids.shape[1] - n)
                for row, n in enumerate(lengths)
            ]
            # left padding shifts no position
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
            inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
        if self._pack:
            inputs["lengths_tokens"] = tuple(lengths)
        return inputs, Places.of(starts, prompt_tokens, lengths).to(device)
