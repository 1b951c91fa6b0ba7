"""The loss of target tokens: logits are computed where a target token comes next, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from taskdepth.models.routing import routed
from taskdepth.types import LMBatch


@dataclass(frozen=True, slots=True)
class TargetTokens:
    """The target tokens of a batch: each one's loss, whether it is the likeliest, and its example."""

    loss: Float[Tensor, " k"]
    is_likeliest: Bool[Tensor, " k"]
    example: Int[Tensor, " k"]
    n_examples: int

    def by_example(self, values: Float[Tensor, " k"]) -> Float[Tensor, " n"]:
        """The sum of `values` over each example's tokens."""
        return sum_by(self.example, values, self.n_examples)

    @property
    def n_tokens(self) -> Float[Tensor, " n"]:
        """How many target tokens each example has."""
        return self.by_example(torch.ones_like(self.loss))


def score_targets(lm: nn.Module, batch: LMBatch) -> TargetTokens:
    """Run `lm` on `batch` and look at the target tokens."""
    logits, tokens = target_logits(lm, batch)
    return TargetTokens(
        functional.cross_entropy(logits.float(), tokens, reduction="none"),
        logits.detach().argmax(-1) == tokens,
        batch.example[batch.is_target],
        batch.n_examples,
    )


def target_logits(
    lm: nn.Module, batch: LMBatch
) -> tuple[Float[Tensor, "k vocabulary"], Int[Tensor, " k"]]:
    """Logits where a target token comes next, and those tokens; examples in their order."""
    positions = batch.is_target
    with only_at(lm, positions), routed(lm, batch.task_index):
        output = lm(**batch.inputs(), use_cache=False)
    return output.logits[0], batch.labels.roll(-1, dims=1)[positions]


@contextmanager
def only_at(lm: nn.Module, positions: Bool[Tensor, "rows s"]) -> Iterator[None]:
    """Inside, `lm` computes logits at `positions` alone: `[1, n_positions, vocabulary]`.

    The states are selected where they enter the output embeddings, so whatever a model does to its logits
    afterwards (scaling, soft-capping) still happens.
    """

    def select(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0][positions].unsqueeze(0), *args[1:])

    head = lm.get_output_embeddings()  # type: ignore[operator]  # of every Hugging Face model
    handle = head.register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()


def sum_by(
    index: Int[Tensor, " k"], values: Float[Tensor, "k ..."], n: int
) -> Float[Tensor, "n ..."]:
    """The sum of the `values` that share an `index`."""
    start = torch.zeros(n, *values.shape[1:], device=values.device, dtype=values.dtype)
    return start.index_add_(0, index, values)


def min_by(index: Int[Tensor, " k"], values: Float[Tensor, " k"], n: int) -> Float[Tensor, " n"]:
    """The smallest of the `values` that share an `index`; infinity where there is none."""
    start = torch.full((n,), torch.inf, device=values.device, dtype=values.dtype)
    return start.scatter_reduce_(0, index, values, "amin")
