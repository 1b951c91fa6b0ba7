from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch.nn import functional

import small_fit
from taskdepth.data.batches import ScoringBatches
from taskdepth.data.collate import collate
from taskdepth.data.tokenise import PromptFormat, TokenisedRow, Tokeniser
from taskdepth.models.loading import LanguageModel
from taskdepth.models.targets import target_logits
from taskdepth.models.tuner import InstructionTuner, Schedule
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example, LMBatch

ROWS = [TokenisedRow("a", "t", (5, 6, 7, 8, 9), 3), TokenisedRow("b", "u", (11, 4, 3), 1)]


def batch() -> LMBatch:
    return collate(ROWS, [0, 1])


@pytest.mark.parametrize(
    ("shape", "warmup", "expected"),
    [
        ("constant", 0.0, [1, 1, 1, 1]),
        ("constant", 0.5, [0.5, 1, 1, 1]),
        ("cosine", 0.0, [1, 0.8536, 0.5, 0.1464]),
        ("cosine", 1.0, [0.25, 0.5, 0.75, 1.0]),
    ],
)
def test_schedule(shape: str, warmup: float, expected: list[float]) -> None:
    schedule = Schedule(4, shape, warmup)
    assert [schedule.factor(step) for step in range(4)] == pytest.approx(expected, abs=1e-4)


class Loader:
    """The same batch, some times over."""

    def __init__(self, item: Any, times: int) -> None:
        self._items = [item] * times

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)


def trainer(**options: Any) -> lightning.Trainer:
    return lightning.Trainer(
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        **options,
    )


def tuner(lm: torch.nn.Module) -> InstructionTuner:
    adamw = functools.partial(torch.optim.AdamW, lr=1e-2)
    return InstructionTuner(lm, ["t", "u"], adamw, Schedule(60))


def test_fit_trains_in_train_mode_and_lowers_the_loss(tiny: LanguageModel) -> None:
    modes: list[bool] = []
    tiny.lm.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    assert not tiny.lm.training
    before = functional.cross_entropy(*target_logits(tiny.lm, batch())).item()
    modes.clear()
    trainer(max_steps=10, limit_val_batches=0).fit(tuner(tiny.lm), Loader(batch(), 10), [])
    assert modes == [True] * 10
    after = functional.cross_entropy(*target_logits(tiny.lm.eval(), batch())).item()
    assert after < before / 2


def test_validation_scores_against_greedy_decoding_and_by_hand(tiny: LanguageModel) -> None:
    """Exact match by teacher forcing equals what generate decodes; rank accuracy equals a loop."""
    specs = [
        TaskSpec("t", "c", Kind.CLASSIFICATION, ("no", "yes")),
        TaskSpec("u", "c", Kind.GENERATION),
    ]
    tokeniser = Tokeniser(tiny.tokenizer, PromptFormat(), 128)
    prompts = ["A dog runs", "The film was bad", "Is it true?", "A cat sleeps"]
    closed = [Example(f"t-{i}", "t", p, ("yes" if i % 2 else "no",)) for i, p in enumerate(prompts)]
    free = [Example(f"u-{i}", "u", p, ("never", p.lower())) for i, p in enumerate(prompts)]
    module = tuner(tiny.lm)
    learnt = [tokeniser.row(e, e.targets[-1]) for e in free[:2]]
    learnt += [tokeniser.row(e, "something else") for e in free[2:]]
    rows = collate([row for row in learnt if row is not None], [1] * 4)
    trainer(max_steps=60, limit_val_batches=0).fit(module, Loader(rows, 60), [])

    scoring = ScoringBatches([*closed, *free], specs, tokeniser, 5)
    trainer().validate(module, scoring, verbose=False)
    tiny.lm.eval()
    decoded = [greedy(tiny, tokeniser, example) in example.targets for example in free]
    assert decoded == [True, True, False, False], "the model has learnt what it was shown"
    assert module.validation["u"]["exact_match"] == 0.5
    losses = {
        (e.example_id, a): loss_of(tiny, tokeniser, e, a) for e in closed for a in ("no", "yes")
    }
    ranked = [
        min(("no", "yes"), key=lambda a: losses[e.example_id, a][0]) == e.target for e in closed
    ]
    assert module.validation["t"]["rank_accuracy"] == pytest.approx(sum(ranked) / 4)
    own = [losses[e.example_id, e.target] for e in closed]
    mean_loss = sum(loss for loss, _ in own) / sum(n for _, n in own)
    assert module.validation["t"]["loss"] == pytest.approx(mean_loss, rel=1e-4)
    assert "rank_accuracy" not in module.validation["u"]


def greedy(tiny: LanguageModel, tokeniser: Tokeniser, example: Example) -> str:
    prompt = torch.tensor([tokeniser.prompt(example).input_ids])
    out = tiny.lm.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=40,
        do_sample=False,
        pad_token_id=tiny.tokenizer.eos_token_id,
        eos_token_id=tiny.tokenizer.eos_token_id,
    )
    text = tiny.tokenizer.decode(out[0, prompt.shape[1] :], skip_special_tokens=True)
    return text.removeprefix(" ")


def loss_of(
    tiny: LanguageModel, tokeniser: Tokeniser, example: Example, answer: str
) -> tuple[float, int]:
    row = tokeniser.row(example, answer)
    assert row is not None
    ids = torch.tensor([row.input_ids])
    with torch.no_grad():
        logits = tiny.lm(input_ids=ids).logits[0].log_softmax(-1)
    where = range(row.n_prompt_tokens, row.n_tokens)
    return -sum(float(logits[i - 1, row.input_ids[i]]) for i in where), len(where)


def test_checkpoints_hold_what_trains(tiny: LanguageModel, tmp_path: Path) -> None:
    tiny.lm.requires_grad_(False)
    tiny.lm.model.norm.weight.requires_grad_(True)
    module, trainer = small_fit.run(tiny, [], stop_at=1)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    checkpoint = torch.load(tmp_path / "one.ckpt", weights_only=True)
    assert list(checkpoint["state_dict"]) == ["lm.model.norm.weight"]
    assert module.strict_loading is False
