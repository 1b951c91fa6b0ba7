"""Half Fine-Tuning: full tuning in which half of every block stands still, another half each round.

Within each block, half of the modules of each category are frozen: the attention's matrices, the
feed-forward's matrices, the norms (Hui et al. 2024, arXiv:2404.18466). Of an odd
number one more is frozen in every second block. Embeddings, final norm and head always learn. Which half
it is depends on the seed and the round alone, so that a resumed run goes on as it would have.
"""

from __future__ import annotations

import random
import re
from typing import Any

from lightning.pytorch.callbacks import Callback
from torch import nn

from taskdepth import layers

CATEGORIES = ("attention", "feed_forward", "norm")


def categories(block: nn.Module) -> dict[str, list[str]]:
    """The modules of `block` that hold weights of their own, by category.

    >>> block = nn.ModuleDict({"attn": nn.Linear(2, 2), "fc": nn.Linear(2, 2), "n": nn.LayerNorm(2)})
    >>> categories(block)
    {'attention': ['attn'], 'feed_forward': ['fc'], 'norm': ['n']}
    """
    found: dict[str, list[str]] = {category: [] for category in CATEGORIES}
    for name, module in block.named_modules():
        if not any(True for _ in module.parameters(recurse=False)):
            continue
        if "norm" in type(module).__name__.lower():
            found["norm"].append(name)
        elif re.search("attn|attention", name.lower()):
            found["attention"].append(name)
        else:
            found["feed_forward"].append(name)
    return found


def frozen_half(lm: nn.Module, seed: int, round_index: int) -> list[nn.Module]:
    """The modules of all blocks that stand still in a round."""
    frozen = []
    for b, block in enumerate(layers.find_blocks(lm)):
        for category, names in categories(block).items():
            n_frozen = (len(names) + (b + round_index) % 2) // 2
            rng = random.Random(f"{seed}/half/{round_index}/{b}/{category}")
            frozen += [block.get_submodule(name) for name in rng.sample(names, n_frozen)]
    return frozen


class HalfTuning(Callback):
    """Draws the half that stands still, each epoch or every `round_steps` optimizer steps.

    A frozen weight has no gradient, so the optimizer passes over it: no step, no weight decay, and its
    moments wait.
    """

    def __init__(self, lm: nn.Module, seed: int, round_steps: int | None) -> None:
        self._lm = lm
        self._seed = seed
        self._round_steps = round_steps
        self._round: int | None = None

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        steps = self._round_steps
        now = trainer.current_epoch if steps is None else trainer.global_step // steps
        if now != self._round:
            self._round = now
            self._lm.requires_grad_(True)
            for module in frozen_half(self._lm, self._seed, now):
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(False)
                    parameter.grad = None  # left over from the last round

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._lm.requires_grad_(True)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._lm.requires_grad_(True)
