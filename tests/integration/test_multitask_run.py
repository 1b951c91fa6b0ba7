"""One tuning with everything that a mixture of tasks offers, and what it leaves behind."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file

from taskdepth import config
from taskdepth.data.shots import BETWEEN_SHOTS
from taskdepth.errors import DataError
from taskdepth.models.text_scores import text_scores
from taskdepth.pipelines import evaluating, train

TASKS = {
    "mood": ("nli", "classification", ["no", "yes"]),
    "tone": ("sentiment", "classification", ["bad", "good"]),
    "echo": ("misc", "generation", []),
    "late": ("misc", "generation", []),
}
WORDS = ["film", "dog", "cat", "house", "garden"]
# per task; a bad row is one more
N_ROWS = {"train": 12, "validation": 4, "test": 6}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("multitask")
    tasks = folder / "tasks"
    tasks.mkdir()
    lines = ["task\tcluster\tkind\tlabels"]
    for task, (cluster, kind, labels) in TASKS.items():
        lines.append(f"{task}\t{cluster}\t{kind}\t{'|'.join(labels)}")
        (tasks / f"{task}.jsonl").write_text("".join(rows(task, labels)))
    (tasks / "tasks.tsv").write_text("\n".join(lines) + "\n")
    return folder


def rows(task: str, labels: list[str]) -> Iterator[str]:
    for split, n in N_ROWS.items():
        for i in range(n):
            word = WORDS[i % len(WORDS)]
            label = labels[i % 2] if labels else None
            row: dict[str, Any] = {
                "example_id": f"{task}-{split}-{i}",
                "split": split,
                "prompt": f"{task}: the {word} {i} {split}",
                "targets": [label or f"{word} {i}", "nothing"][: 1 if label else 2],
                "label": label,
                "inverted": task == "tone" and split == "test" and i == 0,
            }
            yield json.dumps(row) + "\n"
    if task == "echo":
        yield '{"example_id": "echo-bad", "split": "train", "prompt": ""}\n'


ALL = [
    "adapter=lora",
    "evaluation=default",
    "evaluation.max_new_tokens=4",
    "mixture.unseen=[late]",
    "data.shots=1",
    "data.on_error=skip",
    "trainer.batch_tokens=256",
    "trainer.gradient_checkpointing=true",
    "trainer.loss_balance=coba",
    "trainer.balance_every_n_steps=1",
    "trainer.log_every_n_steps=2",
    "optimizer.lr=0.02",
]


def tune(place: Path, name: str, model: Path, *overrides: str) -> train.TrainResult:
    shared = [f"paths.root='{place}'", "data=folder", f"data.path='{place}/tasks'", f"name={name}"]
    shared += ["data.on_error=skip", "trainer.max_epochs=2", "trainer.batch_size_examples=8"]
    shared += ["callbacks=none", "logger=none", "trainer.accelerator=cpu", f"model.path='{model}'"]
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        resolved = config.resolve(compose("train", [*shared, *overrides]))
    return train.run(resolved)


@pytest.fixture(scope="module")
def result(place: Path, tiny_folder: Path) -> train.TrainResult:
    return tune(place, "all", tiny_folder, *ALL)


def test_metrics_say_what_was_drawn_trained_and_found(result: train.TrainResult) -> None:
    metrics = json.loads((result.run_dir / "metrics.json").read_text())
    assert metrics["skipped_rows"] == {"echo": 1}
    assert metrics["training_data"]["rows"] == 36
    assert metrics["training_data"]["dropped_rows"] == 0
    assert math.isfinite(metrics["train_loss"])
    assert set(metrics["tasks"]) == set(TASKS)
    for task, found in metrics["tasks"].items():
        assert found["cluster"] == TASKS[task][0]
        assert found["unseen"] == (task == "late")
        assert found["loss"] > 0, "unseen tasks are validated on too"
        if task == "late":
            assert found["drawn"] is None
            assert found["trained"] == {}
        else:
            assert found["drawn"]["rows"] == 12
            assert 0 < found["drawn"]["target_tokens"] < found["drawn"]["tokens"]
            assert found["trained"]["loss"] > 0
            assert 0 <= found["trained"]["accuracy"] <= 1
    drawn = [found["drawn"] for found in metrics["tasks"].values() if found["drawn"]]
    for name in ("rows", "tokens", "target_tokens", "truncated_prompts"):
        assert metrics["training_data"][name] == sum(of_task[name] for of_task in drawn)


def test_every_task_is_evaluated_by_its_kind(result: train.TrainResult) -> None:
    for task, found in result.metrics["tasks"].items():
        evaluated = found["evaluation"]
        assert evaluated["n"] == N_ROWS["test"] - (task == "tone"), "inverted rows are left out"
        closed = TASKS[task][1] == "classification"
        scores = {"accuracy"} if closed else {"exact_match", "f1", "rouge_l", "bleu"}
        assert set(evaluated) == scores | {"n"}
        assert all(0 <= evaluated[score] <= 1 for score in scores)


def test_skipped_rows_are_listed_with_their_place(result: train.TrainResult) -> None:
    listed = json.loads((result.run_dir / "skipped_rows.json").read_text())
    (line,) = listed["echo"]
    assert "echo.jsonl:23" in line


def test_the_task_log_holds_training_and_validation(result: train.TrainResult) -> None:
    text = (result.run_dir / "task_log.jsonl").read_text(encoding="utf-8")
    found = [json.loads(line) for line in text.splitlines()]
    assert {line["split"] for line in found} == {"train", "validation"}
    trained = [line for line in found if line["split"] == "train"]
    assert trained[-1]["step"] == result.metrics["steps"]
    assert {task for line in trained for task in line["tasks"]} == {"mood", "tone", "echo"}
    validated = [line for line in found if line["split"] == "validation"]
    assert len(validated) == 2, "one an epoch"
    last = {task: found["loss"] for task, found in result.metrics["tasks"].items()}
    assert {task: scores["loss"] for task, scores in validated[-1]["tasks"].items()} == last


def test_prompts_were_shown_a_solved_row(
    place: Path, tiny_folder: Path, result: train.TrainResult
) -> None:
    plain = tune(place, "plain", tiny_folder, "trainer.max_steps=1", "mixture.unseen=[late]")
    for task in ("mood", "tone", "echo"):
        shown, alone = (r.metrics["tasks"][task]["drawn"] for r in (result, plain))
        assert shown["target_tokens"] == alone["target_tokens"]
        assert shown["tokens"] - shown["target_tokens"] > 1.5 * (
            alone["tokens"] - alone["target_tokens"]
        )


def weights(result: train.TrainResult) -> dict[str, torch.Tensor]:
    return load_file(result.run_dir / "adapter" / "adapter_model.safetensors")


@pytest.mark.slow
def test_every_balance_learns_and_no_two_alike(place: Path, tiny_folder: Path) -> None:
    """24 steps: CoBa weighs tasks from the 21st observation on."""
    shared = ["trainer.balance_every_n_steps=1", "adapter=lora", "trainer.max_epochs=4"]
    shared += ["trainer.val_every_n_epochs=4"]
    untouched = tune(place, "untouched", tiny_folder, *shared, "optimizer.lr=0").objective
    assert untouched is not None
    learnt = {}
    for balance in ("token", "example", "task", "self_paced", "coba"):
        options = [*shared, f"trainer.loss_balance={balance}", "optimizer.lr=0.02"]
        found = tune(place, f"of_{balance}", tiny_folder, *options)
        assert found.metrics["steps"] == 24
        assert found.objective is not None
        assert found.objective < 0.8 * untouched
        learnt[balance] = torch.cat([value.flatten() for value in weights(found).values()])
    for one, other in combinations(learnt, 2):
        assert not torch.equal(learnt[one], learnt[other]), (one, other)


def test_gradient_checkpointing_changes_nothing(place: Path, tiny_folder: Path) -> None:
    shared = ["adapter=lora", "trainer.max_steps=3", "optimizer.lr=0.01"]
    kept = weights(tune(place, "kept", tiny_folder, *shared))
    anew = weights(tune(place, "anew", tiny_folder, *shared, "trainer.gradient_checkpointing=true"))
    assert kept.keys() == anew.keys()
    for name, value in kept.items():
        torch.testing.assert_close(anew[name], value, rtol=1e-5, atol=1e-7)


def test_free_answers_are_scored_as_generated(
    place: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the model says is replaced: half of the answers are right, by the second target too."""
    asked: list[list[int]] = []

    def spoken(lm: Any, tokenizer: Any, prompts: list[list[int]], **_: Any) -> list[str]:
        asked.extend(prompts)
        texts = [tokenizer.decode(prompt) for prompt in prompts]
        assert all(text.endswith("\nAnswer:") for text in texts)
        assert all(text.count(BETWEEN_SHOTS) == 1 for text in texts)
        return ["film 0", "nothing", "Nothing.", "wrong", "", "wrong"]

    monkeypatch.setattr(evaluating, "generate", spoken)
    options = ["trainer.max_steps=1", "evaluation=default", "tasks=[echo]", "data.shots=1"]
    found = tune(place, "spoken", tiny_folder, *options).metrics["tasks"]["echo"]["evaluation"]
    assert len(asked) == found["n"] == 6
    assert found["exact_match"] == 0.5
    references = [[f"{WORDS[i % 5]} {i}", "nothing"] for i in range(6)]
    answers = ["film 0", "nothing", "Nothing.", "wrong", "", "wrong"]
    assert {k: v for k, v in found.items() if k != "n"} == text_scores(answers, references)


@pytest.mark.parametrize("packing", ["true", "false"])
def test_ranking_is_the_validations_rank_accuracy(
    place: Path, tiny_folder: Path, packing: str
) -> None:
    """The evaluation of validation rows finds what validation found, however rows are batched."""
    options = ["evaluation=default", "evaluation.split=validation", "optimizer.lr=0.02"]
    options += ["tasks=[mood,tone]", f"trainer.packing={packing}"]
    found = tune(place, f"ranked_{packing}", tiny_folder, *options).metrics["tasks"]
    for task in ("mood", "tone"):
        assert found[task]["evaluation"] == {"accuracy": found[task]["rank_accuracy"], "n": 4}


@pytest.mark.slow
# torch 2.13's own: what its compiler imports, and how it looks at a block's inputs
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_compiled_blocks_learn_the_same(place: Path, tiny_folder: Path) -> None:
    shared = ["adapter=lora", "trainer.max_steps=2", "trainer.packing=false", "optimizer.lr=0.01"]
    eager = weights(tune(place, "eager", tiny_folder, *shared))
    compiled = weights(tune(place, "compiled", tiny_folder, *shared, "trainer.compile=true"))
    assert eager.keys() == compiled.keys()
    for name, value in eager.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-3, atol=1e-4)


@pytest.fixture
def untested(place: Path) -> Iterator[Path]:
    """A task more, without test rows and, but for its validation rows, without anything."""
    path = place / "tasks" / "untested.jsonl"
    spec = place / "tasks" / "tasks.tsv"
    before = spec.read_text()
    lines = [line for line in rows("untested", []) if '"split": "test"' not in line]
    path.write_text("".join(lines))
    spec.write_text(before + "untested\tmisc\tgeneration\t\n")
    yield path
    path.unlink()
    spec.write_text(before)


def test_a_task_that_cannot_be_evaluated_is_told_before_training(
    place: Path, tiny_folder: Path, untested: Path
) -> None:
    with pytest.raises(DataError, match="task untested has no test rows"):
        tune(place, "early", tiny_folder, "evaluation=default", "tasks=[mood,untested]")
    assert not (place / "outputs" / "train" / "early").exists()


def test_an_unseen_task_needs_no_training_rows(
    place: Path, tiny_folder: Path, untested: Path
) -> None:
    lines = [line for line in untested.read_text().splitlines() if '"split": "train"' not in line]
    untested.write_text("\n".join(lines) + "\n")
    options = ["tasks=[mood,untested]", "mixture.unseen=[untested]", "trainer.max_steps=1"]
    found = tune(place, "only_validated", tiny_folder, *options).metrics["tasks"]["untested"]
    assert found["drawn"] is None
    assert found["loss"] > 0
