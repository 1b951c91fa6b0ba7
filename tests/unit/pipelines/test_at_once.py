"""Control models in shared steps against the same ones alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning
import pytest
import torch
import transformers
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import Callback, EarlyStopping
from peft import LoraConfig, PeftModel
from torch import Tensor

from taskdepth import config as configs
from taskdepth import stopping
from taskdepth.data.batches import Batching
from taskdepth.data.mixture import Mixture
from taskdepth.data.module import TaskDataModule
from taskdepth.data.tokenise import PromptFormat, Tokeniser
from taskdepth.errors import DataError, ModelError, TaskdepthError
from taskdepth.models import adapters
from taskdepth.pipelines import at_once, begun
from taskdepth.pipelines.fitting import FitReport, fit
from taskdepth.pipelines.shared_steps import Together
from taskdepth.pipelines.task_queue import TaskQueue
from taskdepth.seeds import stable_seed
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example, Split
from tiny import tiny_llama

N_ROWS = {"one": 5, "two": 12, "three": 9, "four": 2}
SPECS = {name: TaskSpec(name, "c", Kind.CLASSIFICATION, ("no", "yes")) for name in N_ROWS}

OWN = tiny_llama()


class Rows:
    """Tasks of different sizes, some with long targets, each with three validation rows."""

    def specs(self) -> dict[str, TaskSpec]:
        return SPECS

    def examples(self, task: str, split: Split) -> list[Example]:
        if task == "gone":
            raise DataError("the rows of gone are gone")
        if task == "blind" and split is Split.VALIDATION:
            raise DataError("blind has nothing to validate on")
        n = N_ROWS.get(task, 3) if split is Split.TRAIN else 3
        other = {"two": "the cat sleeps in the garden"}
        if split is Split.VALIDATION:
            other["one"] = "bad house"  # nothing that it learns
        return [
            Example(
                f"{task}-{split}-{i}",
                task,
                "The dog " * (1 + i % 3),
                (other.get(task, f"yes {i}"),),
            )
            for i in range(n)
        ]

    def plain_text(self, split: Split) -> list[str]:
        return []

    def skipped(self) -> dict[str, list[str]]:
        return {}


def neox() -> Any:
    torch.manual_seed(4)
    shape = {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 2}
    rest = {"intermediate_size": 64, "vocab_size": 400, "initializer_range": 0.2}
    return transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**shape, **rest))


MODELS = {"llama": lambda: tiny_llama().lm, "gpt_neox": neox}


@dataclass
class Trainee:
    lm: Any
    packed: bool = True
    accumulated: int = 1
    lora: dict[str, Any] = field(default_factory=dict)
    saved: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def data(self, spec: TaskSpec) -> TaskDataModule:
        lightning.seed_everything(stable_seed(0, spec.name) % 2**32, verbose=False)
        tokeniser = Tokeniser(OWN.tokenizer, PromptFormat(), OWN.window_tokens)
        batching = Batching(3, packed=self.packed, accumulated=self.accumulated)
        return TaskDataModule(Rows(), [spec], tokeniser, Mixture(), batching=batching, seed=0)

    def wear(self, spec: TaskSpec, data: TaskDataModule) -> PeftModel:
        data.training.rows  # noqa: B018 (fails here, as it does in a run)
        settings = {"task_type": "CAUSAL_LM", "r": 4, "target_modules": "all-linear"}
        return adapters.attach(self.lm, LoraConfig(**{**settings, **self.lora}), [1, 2])

    def save(self, spec: TaskSpec, wrapped: PeftModel) -> None:
        learnt = {n: p.detach().clone() for n, p in wrapped.named_parameters() if p.requires_grad}
        self.saved[spec.name] = learnt


class Losses(Callback):
    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.found.append(float(trainer.callback_metrics["train/loss"]))


def settings(*overrides: str) -> Any:
    given = ["role=control", "adapter=lora", "callbacks=none", "trainer.accelerator=cpu"]
    given += ["trainer.max_epochs=2", "optimizer.lr=0.01", "trainer.prefix_cache=false"]
    with initialize_config_dir(str(configs.conf_dir()), version_base="1.3"):
        return configs.resolve(compose("train", [*given, *overrides]))


def alone(config: Any, trainee: Trainee, name: str) -> tuple[FitReport, list[float]]:
    data = trainee.data(SPECS[name])
    wrapped = trainee.wear(SPECS[name], data)
    losses = Losses()
    patience = config.control.patience
    stop = [] if patience is None else [EarlyStopping("val/loss", patience=patience)]
    report = fit(wrapped, [name], data, config, callbacks=[losses, *stop])
    trainee.save(SPECS[name], wrapped)
    adapters.detach(wrapped)
    return report, losses.found


def queue_of(specs: Sequence[TaskSpec], folder: Path) -> TaskQueue:
    return TaskQueue(specs, lambda spec: folder / spec.name / "metrics.json")


def together(
    config: Any, trainee: Trainee, names: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, FitReport | TaskdepthError], dict[str, list[float]]]:
    losses: dict[str, list[float]] = {name: [] for name in names}
    take = Together._take

    def recorded(self: Any, turn: Any) -> None:
        losses[turn.learner.spec.name].append(turn.learner.loss)
        take(self, turn)

    with monkeypatch.context() as patch:
        patch.setattr(Together, "_take", recorded)
        specs = [SPECS.get(name, TaskSpec(name, "c", Kind.GENERATION)) for name in names]
        with TemporaryDirectory() as folder:
            done = at_once.train_at_once(
                config, trainee.lm, queue_of(specs, Path(folder)), trainee, Path(folder)
            )
            return {spec.name: outcome for spec, outcome in done}, losses


@pytest.mark.parametrize(
    ("family", "packed", "overrides"),
    [
        ("llama", True, ["trainer.prefix_cache=auto"]),
        (
            "gpt_neox",
            False,
            ["trainer.prefix_cache=true", "trainer.accumulate_batches=2", "trainer.max_epochs=2"],
        ),
        (
            "gpt_neox",
            True,
            [
                "trainer.gradient_checkpointing=true",
                "trainer.max_steps=3",
                "trainer.loss_balance=example",
            ],
        ),
    ],
)
def test_each_learns_what_it_learns_alone(
    family: str, packed: bool, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings("control.at_once=3", *overrides)
    accumulated, plain = config.trainer.accumulate_batches, not config.trainer.prefix_cache
    shared = Trainee(MODELS[family](), packed, accumulated, {"use_rslora": packed})
    reports, losses = together(config, shared, list(N_ROWS), monkeypatch)
    own = Trainee(MODELS[family](), packed, accumulated, {"use_rslora": packed})
    for name in N_ROWS:
        report, expected = alone(config, own, name)
        found = reports[name]
        assert isinstance(found, FitReport)
        assert losses[name] == pytest.approx(expected, rel=1e-5)
        assert found.steps == report.steps
        assert found.reused_blocks == report.reused_blocks == (0 if plain else 1)
        assert found.train_loss == pytest.approx(report.train_loss, rel=1e-5)
        assert found.trainable_parameters == report.trainable_parameters
        assert found.validation[name] == pytest.approx(report.validation[name], rel=1e-4)
        for weight, value in own.saved[name].items():
            torch.testing.assert_close(shared.saved[name][weight], value, rtol=1e-3, atol=1e-4)


def test_company_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    by_company = []
    for names in (["one", "two", "three", "four"], ["four", "three"]):
        _, losses = together(
            settings("control.at_once=2"), Trainee(tiny_llama().lm), names, monkeypatch
        )
        by_company.append(losses)
    assert by_company[0]["three"] == pytest.approx(by_company[1]["three"], rel=1e-5)


@pytest.mark.parametrize("takes", [1, 5, 12])
def test_one_that_was_stopped_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes: int
) -> None:
    """By SIGTERM, with gradients of a step that is not complete; bit for bit."""
    config = settings("control.at_once=2", "trainer.accumulate_batches=3")
    whole = Trainee(tiny_llama().lm, accumulated=3)
    expected, _ = together(config, whole, list(N_ROWS), monkeypatch)
    take, taken = Together._take, 0

    def stopped(self: Any, turn: Any) -> None:
        nonlocal taken
        take(self, turn)
        taken += 1
        if taken == takes:
            os.kill(os.getpid(), signal.SIGTERM)

    cut = Trainee(tiny_llama().lm, accumulated=3)
    found: dict[str, Any] = {}
    all_specs = list(SPECS.values())
    with monkeypatch.context() as patch, stopping.stoppable():
        patch.setattr(Together, "_take", stopped)
        queue = queue_of(all_specs, tmp_path)
        outcomes = at_once.train_at_once(config, cut.lm, queue, cut, tmp_path)
        with pytest.raises(stopping.Stopped):
            found.update((spec.name, outcome) for spec, outcome in outcomes)
    kept, problems = begun.load(tmp_path)
    assert kept is not None
    assert not problems
    left = {*kept.learners, *kept.waiting}
    assert not left & found.keys()
    for name in cut.saved:
        (tmp_path / name / "metrics.json").touch()
    again = Trainee(tiny_llama().lm, accumulated=3, saved=cut.saved)
    queue = queue_of(all_specs, tmp_path)
    outcomes = at_once.train_at_once(config, again.lm, queue, again, tmp_path)
    done = {spec.name: outcome for spec, outcome in outcomes}
    assert done.keys() == left
    found |= done
    assert found.keys() == expected.keys()
    for name, weights in whole.saved.items():
        assert replace(found[name], seconds=0) == replace(expected[name], seconds=0)
        for weight, value in weights.items():
            assert torch.equal(again.saved[name][weight], value)


def test_the_model_itself_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    trainee = Trainee(tiny_llama().lm)
    before = {name: p.detach().clone() for name, p in trainee.lm.named_parameters()}
    together(settings("control.at_once=2"), trainee, ["one", "two"], monkeypatch)
    assert all(torch.equal(p, before[name]) for name, p in trainee.lm.named_parameters())


def test_each_stops_when_it_would_stop_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(
        "control.at_once=2", "control.patience=2", "trainer.max_epochs=5", "optimizer.lr=0.05"
    )
    reports, _ = together(config, Trainee(tiny_llama().lm), ["one", "two"], monkeypatch)
    epochs = {}
    for name in ("one", "two"):
        report, _ = alone(config, Trainee(tiny_llama().lm), name)
        found = reports[name]
        assert isinstance(found, FitReport)
        assert (found.steps, found.epochs) == (report.steps, report.epochs)
        epochs[name] = found.epochs
    assert epochs["one"] < 5, "what it validates on gets worse"
    assert epochs["two"] == 5


def test_one_that_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["gone", "one", "blind", "two"]
    reports, _ = together(
        settings("control.at_once=2"), Trainee(tiny_llama().lm), names, monkeypatch
    )
    assert isinstance(reports["gone"], DataError)
    assert isinstance(reports["blind"], DataError)
    assert isinstance(reports["one"], FitReport)
    assert isinstance(reports["two"], FitReport)


def test_a_loss_that_is_no_number_is_told_and_infects_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Explodes(Trainee):
        def wear(self, spec: TaskSpec, data: TaskDataModule) -> PeftModel:
            wrapped = super().wear(spec, data)
            if spec.name == "two":
                with torch.no_grad():
                    next(p for n, p in wrapped.named_parameters() if "lora_A" in n).fill_(1e38)
                    next(p for n, p in wrapped.named_parameters() if "lora_B" in n).fill_(1e38)
            return wrapped

    config = settings("control.at_once=2")
    names = ["one", "two", "three"]
    reports, losses = together(config, Explodes(tiny_llama().lm), names, monkeypatch)
    assert isinstance(reports["two"], ModelError)
    _, expected = alone(config, Trainee(tiny_llama().lm), "one")
    assert losses["one"] == pytest.approx(expected, rel=1e-5)
    assert isinstance(reports["three"], FitReport)


@pytest.mark.parametrize(
    ("lora", "overrides", "reason"),
    [
        ({}, [], None),
        ({"use_rslora": True}, [], None),
        ({"use_dora": True}, [], "plain LoRA"),
        ({"lora_dropout": 0.1}, [], "dropout"),
        ({"bias": "lora_only"}, [], "plain LoRA"),
        ({}, ["trainer.compile=true"], "compile"),
        ({}, ["trainer.precision=16-mixed"], "precision"),
        ({}, ["+trainer.options.deterministic=true"], "options"),
    ],
)
def test_what_cannot_share_a_step_says_why(
    lora: dict[str, Any], overrides: list[str], reason: str | None
) -> None:
    trainee = Trainee(neox(), lora=lora)
    wrapped = trainee.wear(SPECS["one"], trainee.data(SPECS["one"]))
    found = at_once.why_not(settings(*overrides), wrapped)
    assert (found is None) if reason is None else (found is not None and reason in found)


def test_a_model_with_dropout_cannot_share_a_step() -> None:
    lm = neox()
    lm.config.attention_dropout = 0.1
    for block in lm.gpt_neox.layers:
        block.attention.attention_dropout = 0.1
    trainee = Trainee(lm)
    wrapped = trainee.wear(SPECS["one"], trainee.data(SPECS["one"]))
    found = at_once.why_not(settings(), wrapped)
    assert found is not None
    assert "the model has dropout" in found
