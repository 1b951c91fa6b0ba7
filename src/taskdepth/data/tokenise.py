"""From an `Example` to tokens: prompt and target are encoded apart, so that their border never moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from taskdepth.errors import DataError
from taskdepth.types import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


ENCODED_TOGETHER_ROWS = 512


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """How a prompt is dressed: `template` holds `{prompt}` once; `target_prefix` joins the target."""

    template: str = "{prompt}\nAnswer:"
    target_prefix: str = " "

    @property
    def before(self) -> str:
        return self.template.split("{prompt}")[0]

    @property
    def after(self) -> str:
        return self.template.split("{prompt}")[1]


@dataclass(frozen=True, slots=True)
class TokenisedRow:
    """`input_ids` of prompt then target; the first `n_prompt_tokens` belong to the prompt.

    `n_cut_tokens` were left out of a prompt that was too long.
    """

    example_id: str
    task: str
    input_ids: tuple[int, ...]
    n_prompt_tokens: int
    n_cut_tokens: int = 0

    @property
    def n_tokens(self) -> int:
        return len(self.input_ids)


class Tokeniser:
    """Encodes prompts and targets for one model.

    `window_tokens` is the longest sequence the model takes. With `max_length_tokens` the *prompt's*
    own text is cut at its start until prompt and target fit; what the template puts around it stays, and
    so does the target. Without it a row that does not fit is an error.

    Raises:
        DataError: `max_length_tokens` is beyond the window.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompt_format: PromptFormat,
        window_tokens: int,
        max_length_tokens: int | None = None,
    ) -> None:
        if max_length_tokens is not None and max_length_tokens > window_tokens:
            raise DataError(
                f"data.max_length_tokens={max_length_tokens} is beyond the model's window of "
                f"{window_tokens} tokens"
            )
        self.tokenizer = tokenizer
        self.format = prompt_format
        self.window_tokens = window_tokens
        self.max_length_tokens = max_length_tokens
        # what the tokenizer itself puts in front (a begin-of-sequence token), never what it appends
        self._start = tuple(t for t in tokenizer("")["input_ids"] if t != tokenizer.eos_token_id)
        eos = tokenizer.eos_token_id
        self._end = () if eos is None else (int(eos),)
        self._n_before = len(self._start) + len(self._encode(prompt_format.before))
        self._n_after = len(self._encode(prompt_format.after))

    def prompt(self, example: Example) -> TokenisedRow:
        """The prompt alone, as extraction reads it.

        Raises:
            DataError: it does not fit the model's window and no cut is allowed.
        """
        row = self._fit(example, (*self._start, *self._encode(self._dressed(example))), ())
        if row is None:
            raise DataError(
                f"{example.example_id}: data.max_length_tokens leaves no room for a prompt"
            )
        return row

    def row(self, example: Example, target: str | None = None) -> TokenisedRow | None:
        """Prompt and `target` (the example's own by default), closed by the end token.

        None when the target leaves no room for any of the prompt's text: the caller counts it.

        Raises:
            DataError: the row does not fit the model's window and no cut is allowed.
        """
        text = self.format.target_prefix + (example.target if target is None else target)
        prompt_ids = (*self._start, *self._encode(self._dressed(example)))
        return self._fit(example, prompt_ids, (*self._encode(text), *self._end))

    def first_target(self, example: Example) -> int:
        """The token that comes first after the prompt when the example is learnt."""
        text = self.format.target_prefix + example.target
        return int((*self._encode(text), *self._end)[0])

    def rows(self, examples: Iterable[Example]) -> Iterator[TokenisedRow | None]:
        """`row` of each example, many at a time: fast tokenizers work on a batch in parallel.

        Raises:
            DataError: a row does not fit the model's window and no cut is allowed.
        """
        for some in _batched(examples, ENCODED_TOGETHER_ROWS):
            prompts = self._encode_all([self._dressed(example) for example in some])
            targets = self._encode_all([self.format.target_prefix + e.target for e in some])
            for example, prompt, target in zip(some, prompts, targets, strict=True):
                yield self._fit(example, (*self._start, *prompt), (*target, *self._end))

    def running(self, texts: Iterable[str], length_tokens: int) -> list[TokenisedRow]:
        """`texts`, each closed by the end token, as one stream cut into rows of `length_tokens`.

        Every token but a row's first is learnt. What is left over at the end is a shorter row.
        """
        stream = [token for text in texts for token in (*self._encode(text), *self._end)]
        n_text = length_tokens - len(self._start)
        return [
            TokenisedRow(f"text-{i}", "plain_text", (*self._start, *stream[i : i + n_text]), 1)
            for i in range(0, len(stream) - 1, n_text)
        ]

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else ()

    def _encode_all(self, texts: list[str]) -> list[list[int]]:
        encoded: list[list[int]] = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return encoded

    def _dressed(self, example: Example) -> str:
        return f"{self.format.before}{example.prompt}{self.format.after}"

    def _fit(
        self, example: Example, prompt_ids: tuple[int, ...], target_ids: tuple[int, ...]
    ) -> TokenisedRow | None:
        n_tokens = len(prompt_ids) + len(target_ids)
        n_cut = max(0, n_tokens - (self.max_length_tokens or self.window_tokens))
        if n_cut and self.max_length_tokens is None:
            raise DataError(
                f"{example.example_id}: {n_tokens} tokens do not fit the model's window of "
                f"{self.window_tokens}; data.max_length_tokens={self.window_tokens} cuts long prompts"
            )
        if n_cut and n_cut >= len(prompt_ids) - self._n_before - self._n_after:
            return None
        kept = (*prompt_ids[: self._n_before], *prompt_ids[self._n_before + n_cut :])
        return TokenisedRow(example.example_id, example.task, kept + target_ids, len(kept), n_cut)


def _batched(examples: Iterable[Example], size: int) -> Iterator[list[Example]]:
    iterator = iter(examples)
    while some := list(islice(iterator, size)):
        yield some
