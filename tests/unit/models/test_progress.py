from __future__ import annotations

import pytest

import small_fit
from taskdepth import terminal
from taskdepth.models import progress
from taskdepth.models.loading import LanguageModel
from taskdepth.models.progress import TrainingBar


def test_the_bar_ends_full_with_a_loss_and_a_rate(
    tiny: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.set_up("normal")
    options = {"max_epochs": 1, "limit_val_batches": None}
    small_fit.run(tiny, [TrainingBar()], n_steps=12, **options)
    out, err = capsys.readouterr()
    assert out == ""
    assert "train" in err
    for words in ("12/12 steps", "tok/s", "loss "):
        assert words in err


def test_tokens_are_those_of_the_batches(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    bar, seen = TrainingBar(), []
    monkeypatch.setattr(progress, "TOLD_EVERY_S", 0.0)

    class Counted(small_fit.ByHand):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):  # type: ignore[no-untyped-def]
            seen.append(sum(batch.lengths_tokens))
            assert bar._tokens == sum(seen)

    small_fit.run(tiny, [bar, Counted()], n_steps=4)
    assert len(seen) == 4


def test_a_failing_fit_leaves_the_terminal_free(tiny: LanguageModel) -> None:
    bar = TrainingBar()

    class Failing(small_fit.ByHand):
        def on_train_batch_end(self, *_, **__):  # type: ignore[no-untyped-def]
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        small_fit.run(tiny, [bar, Failing()], n_steps=4)
    assert bar._progress is None
