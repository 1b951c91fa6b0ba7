"""`TokenRows`: many tokenised rows in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import overload

from taskdepth.data.tokenise import TokenisedRow

_COUNTS = ("rows", "tokens", "target_tokens", "truncated_prompts")


class TokenRows(Sequence[TokenisedRow]):
    """Rows whose tokens lie one after the other in one array of 4-byte integers.

    A tuple of Python integers takes about ten times as much, and a mixture has hundreds of millions of
    tokens.

    >>> rows = TokenRows([TokenisedRow("a-0", "a", (5, 6, 7), 2), TokenisedRow("b-0", "b", (8, 9), 1)])
    >>> rows[1].input_ids, rows.n_tokens(0)
    ((8, 9), 3)
    """

    def __init__(self, rows: Iterable[TokenisedRow] = ()) -> None:
        self._tokens = array("i")
        self._ends = array("q")
        self._n_prompt_tokens = array("i")
        self._n_cut_tokens = array("i")
        self._example_ids: list[str] = []
        self._tasks: list[str] = []  # the same few strings, over and over
        for row in rows:
            self.append(row)

    def append(self, row: TokenisedRow) -> None:
        self._tokens.extend(row.input_ids)
        self._ends.append(len(self._tokens))
        self._n_prompt_tokens.append(row.n_prompt_tokens)
        self._n_cut_tokens.append(row.n_cut_tokens)
        self._example_ids.append(row.example_id)
        self._tasks.append(row.task)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> TokenisedRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[TokenisedRow]: ...
    def __getitem__(self, index: int | slice) -> TokenisedRow | list[TokenisedRow]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = range(len(self))[index]  # negative and out-of-range numbers as for any sequence
        return TokenisedRow(
            self._example_ids[i],
            self._tasks[i],
            tuple(self._tokens[self._start(i) : self._ends[i]]),
            self._n_prompt_tokens[i],
            self._n_cut_tokens[i],
        )

    def task(self, i: int) -> str:
        """The task of row i."""
        return self._tasks[i]

    def n_tokens(self, i: int) -> int:
        return self._ends[i] - self._start(i)

    def n_target_tokens(self, i: int) -> int:
        return self.n_tokens(i) - self._n_prompt_tokens[i]

    def counts_by_task(self) -> dict[str, dict[str, int]]:
        """Task → its rows, tokens, target tokens, and rows whose prompt was cut."""
        found: dict[str, dict[str, int]] = {}
        for i, task in enumerate(self._tasks):
            counts = found.setdefault(task, dict.fromkeys(_COUNTS, 0))
            counts["rows"] += 1
            counts["tokens"] += self.n_tokens(i)
            counts["target_tokens"] += self.n_target_tokens(i)
            counts["truncated_prompts"] += self._n_cut_tokens[i] > 0
        return found

    def counts(self) -> dict[str, int]:
        """The same over all tasks."""
        by_task = self.counts_by_task().values()
        return {name: sum(counts[name] for counts in by_task) for name in _COUNTS}

    def _start(self, i: int) -> int:
        return self._ends[i - 1] if i else 0
