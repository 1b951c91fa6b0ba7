"""Everything that can be asked of the probe stage beside accuracy, on a tiny model and tiny tasks."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file

from taskdepth import config
from taskdepth.activations.stored import StoredActivations
from taskdepth.pipelines import probe
from taskdepth.results.table import LayerTable

pytestmark = pytest.mark.slow

TASKS = {"mood": ["no", "yes"], "truth": ["no", "yes"], "tone": ["bad", "good"], "echo": []}
WORDS = ["film", "no", "yes", "dog"]  # each with a first token of its own
ROLES = ("pretrained", "random_init")


def write_tasks(folder: Path) -> None:
    folder.mkdir()
    lines = ["task\tcluster\tkind\tlabels"]
    for task, labels in TASKS.items():
        kind = "classification" if labels else "generation"
        lines.append(f"{task}\t{'misc' if task == 'echo' else 'nli'}\t{kind}\t{'|'.join(labels)}")
        rows = []
        for i in range(48):
            answers = labels or WORDS
            row = {
                "example_id": f"{task}-{i}",
                "split": ["train", "train", "validation", "test"][i // 4 % 4],
                "prompt": f"{task}: the {WORDS[i % 4]} {'runs' if i % 2 else 'sleeps'} {i}",
                "targets": [answers[i % len(answers)]],
                "label": labels[i % 2] if labels else None,
            }
            if task == "tone":
                row["options"] = labels if i % 3 else labels[::-1]
            rows.append(json.dumps(row))
        (folder / f"{task}.jsonl").write_text("\n".join(rows) + "\n")
    (folder / "tasks.tsv").write_text("\n".join(lines) + "\n")


def settings(place: Path, model: Path, *overrides: str) -> Any:
    shared = [f"paths.root='{place}'", "data=folder", f"data.path='{place}/tasks'", "logger=none"]
    shared += [f"models.pretrained='{model}'", "stages=[extract,probe,report]", *overrides]
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        return config.resolve(compose("probe", shared))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> probe.ProbeResult:
    place = tmp_path_factory.mktemp("extras")
    write_tasks(place / "tasks")
    asked = ["name=all", "probe.targets=[task,label,option,first_token]", "probe.folds=3"]
    asked += ["probe.interval=bootstrap", "probe.random_init=true", "probe.transfer=true"]
    asked += ["probe.mdl=true", "probe.poolings=[last_token,mean]", "probe.first_token_classes=3"]
    return probe.run(settings(place, tiny_folder, *asked))


@pytest.fixture(scope="module")
def run_dir(result: probe.ProbeResult) -> Path:
    return result.run_dir


@pytest.fixture(scope="module")
def table(run_dir: Path) -> LayerTable:
    return LayerTable.read(run_dir / "layers.parquet")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("suffix", ["", "@mean"])
def test_every_target_has_every_number_at_every_depth(
    table: LayerTable, role: str, suffix: str
) -> None:
    names = ["accuracy", "control_task_accuracy", "selectivity", "l2", "majority", "macro_f1"]
    names += ["auroc", "calibration_error", "bag_of_tokens", "mdl_bits", "mdl_compression"]
    tasks = {
        "task": {"all"},
        "label": {"mood", "truth", "tone"},
        "option": {"tone"},
        "first_token": {"echo"},
    }
    for target, about in tasks.items():
        for name in names:
            rows = table.where(kind="probe", role=role, target=target, name=name + suffix)
            found = {(row.task, row.depth) for row in rows if row.task in about}
            assert found == {(task, depth) for task in about for depth in range(5)}, (target, name)


def test_rows_that_cannot_take_part_are_counted(table: LayerTable) -> None:
    first_token = table.where(target="first_token", role="pretrained", depth=1)
    assert [row.value for row in first_token.where(name="coverage")] == [9 / 12]
    assert {row.n for row in first_token.where(name="accuracy")} == {9}
    assert {row.n for row in first_token.where(name="mdl_bits")} == {18}
    assert [row.value for row in table.where(target="option", name="coverage", depth=0)] == [
        1.0
    ] * 2


def test_tasks_with_the_same_labels_try_each_others_probes(table: LayerTable) -> None:
    rows = [row for row in table if row.name.startswith("transfer_from:")]
    pairs = {(row.task, row.name.split("@")[0]) for row in rows}
    assert pairs == {("mood", "transfer_from:truth"), ("truth", "transfer_from:mood")}
    assert len(rows) == 2 * 2 * 2 * 5, "directions, models, poolings, depths"


def test_the_words_of_a_prompt_are_the_same_to_every_model(table: LayerTable) -> None:
    for task in ("mood", "all"):
        rows = table.where(name="bag_of_tokens", task=task)
        assert len({(row.value, row.n) for row in rows.where(target="label")}) <= 1
    (value,) = {row.value for row in table.where(name="bag_of_tokens", target="task", task="all")}
    assert value > 0.9, "each prompt starts with the name of its task"


def test_the_randomly_initialised_model_has_other_weights_and_is_no_pretrained_one(
    run_dir: Path, table: LayerTable, tiny_folder: Path
) -> None:
    (folder,) = (run_dir.parents[1] / "activations").glob("random-init-*")
    fresh, given = (load_file(path / "model.safetensors") for path in (folder, tiny_folder))
    assert {name: tensor.shape for name, tensor in fresh.items()} == {
        name: tensor.shape for name, tensor in given.items()
    }
    assert not any((fresh[name] == given[name]).all() for name in fresh if "proj" in name)
    assert {row.model for row in table.where(role="random_init")} == {"random-init"}
    findings = json.loads((run_dir / "findings.json").read_text())
    assert "random" not in " ".join(findings["lines"])
    assert (run_dir / "report.html").exists()


def test_a_sweep_does_not_maximise_what_fresh_weights_reach(
    result: probe.ProbeResult, table: LayerTable
) -> None:
    label = {"target": "label", "name": "accuracy", "role": "pretrained"}
    best = [
        max(row.value for row in table.where(**label, task=task))
        for task, labels in TASKS.items()
        if labels
    ]
    assert result.objective == pytest.approx(sum(best) / len(best))


def test_what_is_undefined_has_a_reason(run_dir: Path, table: LayerTable) -> None:
    assert not any(math.isnan(row.value) for row in table.where(name="auroc", target="label"))
    undefined = json.loads((run_dir / "findings.json").read_text())["undefined"]["probe"]
    assert all("auroc" in what for what, _ in undefined), undefined


def test_where_nothing_can_be_asked_the_reason_is_told(
    run_dir: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    write_tasks(tmp_path / "tasks")
    asked = ["name=none", "tasks=[mood,truth]", "probe.targets=[cluster,option,first_token]"]
    result = probe.run(settings(tmp_path, tiny_folder, *asked, "stages=[extract,probe,report]"))
    undefined = dict(
        json.loads((result.run_dir / "findings.json").read_text())["undefined"]["probe"]
    )
    assert set(undefined.values()) == {
        "all chosen tasks are of one cluster: nothing to tell apart",
        "no chosen task offers options",
        "no chosen task is a generation task",
    }


def test_minibatches_tell_of_every_depth_and_hold_no_problem_whole(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tasks(tmp_path / "tasks")
    read: list[int] = []
    states = StoredActivations.states

    def counted(*arguments: Any, **named: Any) -> Any:
        found = states(*arguments, **named)
        read.append(found.shape[1])
        return found

    monkeypatch.setattr(StoredActivations, "states", counted)
    asked = ["name=adamw", "probe.solver=adamw", "probe.minibatch.batch_rows=8"]
    asked += ["probe.minibatch.max_epochs=3", "probe.targets=[task,label]"]
    result = probe.run(settings(tmp_path, tiny_folder, *asked))
    table = LayerTable.read(result.run_dir / "layers.parquet")
    for task in ("all", "mood", "truth", "tone"):
        for name in ("accuracy", "selectivity", "l2", "macro_f1", "bag_of_tokens"):
            rows = table.where(kind="probe", task=task, name=name)
            assert {row.depth for row in rows} == set(range(5)), (task, name)
    assert max(read) <= 8, "never more rows than a batch has"
