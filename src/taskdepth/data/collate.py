"""Token rows to padded tensors."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from taskdepth.data.tokenise import TokenisedRow
from taskdepth.types import LMBatch

IGNORED = -100  # Hugging Face's label of positions without loss


def pad(
    rows: Sequence[Sequence[int]], side: str = "right"
) -> tuple[Int[Tensor, "b s"], Int[Tensor, "b s"]]:
    """`rows` as one tensor and its attention mask.

    Padding is masked out, so its token id is of no consequence: 0 exists in every vocabulary.

    >>> ids, mask = pad([[5, 6, 7], [8]])
    >>> ids.tolist(), mask.tolist()
    ([[5, 6, 7], [8, 0, 0]], [[1, 1, 1], [1, 0, 0]])
    """
    longest = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(longest - len(row), longest)
        ids[i, place] = torch.tensor(row, dtype=torch.int64)
        mask[i, place] = 1
    return ids, mask


def collate(
    rows: Sequence[TokenisedRow],
    task_index: Sequence[int],
    *,
    packed: bool = False,
    share: float = 1.0,
    numbers: Sequence[int] = (),
) -> LMBatch:
    """A batch in which only target tokens (the end token too) are learnt.

    Padded on the right, or packed into one row: nothing is padding then, and the model must be kept
    from looking across examples (`models.packing`). `numbers` are those of the rows in the training set.
    """
    lengths = tuple(row.n_tokens for row in rows)
    labels = [_labels(row) for row in rows]
    positions = [torch.arange(length) for length in lengths]
    examples = [torch.full((length,), i) for i, length in enumerate(lengths)]
    ids = [torch.tensor(row.input_ids, dtype=torch.int64) for row in rows]

    def joined(parts: list[Tensor], padding: int) -> Tensor:
        if packed:
            return torch.cat(parts).unsqueeze(0)
        return pad_sequence(parts, batch_first=True, padding_value=padding)

    return LMBatch(
        input_ids=joined(ids, 0),
        labels=joined(labels, IGNORED),
        position_ids=joined(positions, 0),
        example=joined(examples, -1),
        task_index=torch.tensor(task_index, dtype=torch.int64),
        lengths_tokens=lengths,
        packed=packed,
        share=share,
        rows=tuple(numbers),
    )


def side_by_side(batches: Sequence[LMBatch]) -> LMBatch:
    """The examples of all `batches`, all packed or all padded, in one; `task_index` numbers the batches."""
    packed = batches[0].packed
    first = [0, *accumulate(batch.n_examples for batch in batches)]
    examples = [
        torch.where(batch.example < 0, -1, batch.example + start)
        for batch, start in zip(batches, first, strict=False)
    ]
    numbers = [torch.full_like(batch.task_index, i) for i, batch in enumerate(batches)]
    return LMBatch(
        input_ids=_joined([batch.input_ids for batch in batches], 0, packed),
        labels=_joined([batch.labels for batch in batches], IGNORED, packed),
        position_ids=_joined([batch.position_ids for batch in batches], 0, packed),
        example=_joined(examples, -1, packed),
        task_index=torch.cat(numbers),
        lengths_tokens=tuple(length for batch in batches for length in batch.lengths_tokens),
        packed=packed,
    )


def states_side_by_side(
    parts: Sequence[Float[Tensor, "_rows _s d_model"]], *, packed: bool
) -> Float[Tensor, "rows s d_model"]:
    """The states of several batches where `side_by_side` puts their tokens."""
    return _joined(parts, 0, packed)


def _joined(parts: Sequence[Tensor], padding: int, packed: bool) -> Tensor:
    """`[rows, s, …]` one after the other in one row; or below each other, as wide as the widest."""
    if packed:
        return torch.cat(list(parts), dim=1)
    widest = max(part.shape[1] for part in parts)
    joined = parts[0].new_full(
        (sum(len(part) for part in parts), widest, *parts[0].shape[2:]), padding
    )
    row = 0
    for part in parts:
        joined[row : row + len(part), : part.shape[1]] = part
        row += len(part)
    return joined


def _labels(row: TokenisedRow) -> Int[Tensor, " s"]:
    labels = torch.tensor(row.input_ids, dtype=torch.int64)
    # a first token has nothing before it that could predict it
    labels[: max(1, row.n_prompt_tokens)] = IGNORED
    return labels


def token_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Row numbers in batches of at most `batch_tokens` *padded* tokens, longest rows first.

    Sorted by length, so little is padding; a row longer than the budget is a batch of its own. The
    longest come first, so that a batch too large for memory fails at once and not after an hour.

    >>> token_batches([3, 9, 4, 2], batch_tokens=9)
    [[1], [2, 0], [3]]
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def best_fit_decreasing(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Row numbers in packs of at most `batch_tokens` tokens, as few packs as the rule finds.

    Each row, longest first, joins the fullest pack that still has room for it (Johnson 1974: never more
    than 11/9 of the fewest possible, and 4). A row longer than the budget is a pack of its own.

    >>> best_fit_decreasing([3, 9, 4, 6], batch_tokens=10)
    [[1], [3, 2], [0]]
    """
    packs: list[list[int]] = []
    by_room: dict[int, list[int]] = defaultdict(list)  # room → packs that have it
    rooms: list[int] = []  # the keys of by_room, sorted
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        place = bisect_left(rooms, lengths[row])
        if place == len(rooms):
            packs.append([row])
            pack, room = len(packs) - 1, batch_tokens - lengths[row]
        else:
            tightest = rooms[place]
            pack, room = by_room[tightest].pop(), tightest - lengths[row]
            packs[pack].append(row)
            if not by_room[tightest]:
                del by_room[tightest], rooms[place]
        if room > 0:
            if room not in by_room:
                insort(rooms, room)
            by_room[room].append(pack)
    return packs
