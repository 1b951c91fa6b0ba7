"""A placement study on a tiny model: equal budgets, the same data, goes on after a kill, used by train.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file

from taskdepth import config
from taskdepth.errors import ConfigError, ResultsError, TaskdepthError
from taskdepth.pipelines import placement_study, train
from taskdepth.results.table import LayerTable, Row
from taskdepth.selection.placement import LayerSelection

TASKS = {"mood": ("nli", ["no", "yes"]), "tone": ("nli", ["bad", "good"]), "echo": ("misc", [])}
POLICIES = ["all", "region", "top_gain", "probe_slope", "similarity_drop", "uniform", "random"]
POLICIES += ["first_k", "last_k", "inverse", "gradient_norm", "adjacent_cka", "weight_snr"]


def write_tasks(folder: Path) -> None:
    folder.mkdir()
    lines = ["task\tcluster\tkind\tlabels"]
    for task, (cluster, labels) in TASKS.items():
        kind = "classification" if labels else "generation"
        lines.append(f"{task}\t{cluster}\t{kind}\t{'|'.join(labels)}")
        rows = [
            {
                "example_id": f"{task}-{i}",
                "split": ["train", "train", "validation", "test"][i // 2 % 4],
                "prompt": f"{task}: the dog {'runs' if i % 2 else 'sleeps'} {i}",
                "targets": [labels[i % 2] if labels else f"dog {i}"],
                "label": labels[i % 2] if labels else None,
            }
            for i in range(32)
        ]
        (folder / f"{task}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (folder / "tasks.tsv").write_text("\n".join(lines) + "\n")


def write_study(folder: Path) -> None:
    """A layer table in which layer 2 gains most, layer 3 is where labels become readable, and so on."""
    rows = []
    for i, (task, (cluster, _)) in enumerate(TASKS.items()):
        for depth in range(5):
            for role, curve in {
                "experimental": [1.0, 0.9, 0.8, 0.4, 0.35],
                "pretrained": [1.0, 0.9, 0.5, 0.35, 0.2],
            }.items():
                value = curve[depth] + 0.01 * i
                common: dict[str, Any] = {"value": value, "n": 9, "reference": "control"}
                rows.append(
                    Row(role, role, task, cluster, depth, "similarity", "debiased_cka", **common)
                )
            accuracy = [0.5, 0.5, 0.6, 0.9, 0.9][depth]
            rows.append(
                Row(
                    "m",
                    "experimental",
                    task,
                    cluster,
                    depth,
                    "probe",
                    "accuracy",
                    accuracy,
                    9,
                    "label",
                )
            )
    LayerTable(rows).write(folder / "layers.parquet")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("placement")
    write_tasks(folder / "tasks")
    write_study(folder / "found")
    return folder


def run(place: Path, model: Path, name: str, *overrides: str) -> train.TrainResult:
    shared = [f"paths.root='{place}'", "data=folder", f"data.path='{place}/tasks'", f"name={name}"]
    shared += ["model=pretrained", f"model.path='{model}'", "logger=none", "callbacks=none"]
    shared += ["trainer.accelerator=cpu", "trainer.batch_size_examples=8", "trainer.max_steps=3"]
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        return train.run(config.resolve(compose("train", [*shared, *overrides])))


def study(place: Path, model: Path, name: str, *overrides: str) -> train.TrainResult:
    options = ["experiment=placement_study", f"placement.study='{place}/found'", "placement.k=2"]
    options += ["adapter.peft.r=4", "optimizer.lr=0.02", "placement.seeds=[1]"]
    return run(place, model, name, *options, *overrides)


@pytest.fixture(scope="module")
def whole(place: Path, tiny_folder: Path) -> Path:
    return study(place, tiny_folder, "whole").run_dir


def test_every_policy_is_trained_at_the_same_parameters_and_tokens(whole: Path) -> None:
    written = json.loads((whole / "placement.json").read_text())
    found = written["placement"]
    assert written["left_out"] == {}
    assert {line["policy"] for line in found["lines"]} == set(POLICIES)
    assert {line["parameters"] for line in found["lines"]} == {written["budget_parameters"]}
    records = [json.loads(path.read_text()) for path in (whole / "fits").rglob("seed-*.json")]
    assert {record["steps"] for record in records} == {3}
    assert len({record["tokens"] for record in records}) == 1
    blocks = {line["policy"]: line["blocks"] for line in found["lines"]}
    assert blocks["region"] == [0, 1, 2, 3], "four layers are no evidence for three regions"
    assert blocks["top_gain"] == [1, 3]
    assert blocks["probe_slope"] == [1, 2]
    assert blocks["similarity_drop"] == [1, 2]
    assert blocks["inverse"] == [0, 2]
    assert 0 not in blocks["adjacent_cka"], "every prompt ends in the same token"


def test_policies_of_the_same_blocks_share_their_fits(whole: Path) -> None:
    found = json.loads((whole / "placement.json").read_text())["placement"]
    lines = {line["policy"]: line for line in found["lines"]}
    assert lines["region"]["gain"] == {"value": 0, "lower": 0, "upper": 0}
    assert lines["similarity_drop"]["scores"] == lines["probe_slope"]["scores"]
    chosen = {tuple(lines[p]["blocks"]) for p in POLICIES if p != "random"}
    folders = [path.name for path in (whole / "fits").iterdir()]
    assert len(folders) <= len(chosen) + 1
    assert "blocks-0-3" in folders


def test_all_scores_are_kept(whole: Path) -> None:
    rows = pq.read_table(whole / "placement.parquet").to_pylist()
    assert {row["score"] for row in rows} == {"loss", "exact_match", "rank_accuracy"}
    assert {row["task"] for row in rows if row["score"] == "rank_accuracy"} == {"mood", "tone"}
    losses = [row for row in rows if row["score"] == "loss" and row["policy"] == "all"]
    assert np.mean([row["value"] - row["untuned"] for row in losses]) < 0, "it learns something"
    assert (whole / "placement.png").is_file()


def test_a_selection_carries_its_ranks_into_the_next_run(
    whole: Path, place: Path, tiny_folder: Path
) -> None:
    path = whole / "policies" / "last_k" / "selection.yaml"
    assert LayerSelection.read(path).rank_pattern == {2: 8, 3: 8}
    options = ["adapter=lora", "adapter.peft.r=4", f"adapter.blocks_from='{path}'"]
    result = run(place, tiny_folder, "next", *options)
    budget = json.loads((whole / "placement.json").read_text())["budget_parameters"]
    assert result.metrics["adapted_blocks"] == [2, 3]
    assert result.metrics["trainable_parameters"] == budget
    weights = load_file(result.run_dir / "adapter" / "adapter_model.safetensors")
    assert {len(w) for name, w in weights.items() if "lora_A" in name} == {8}
    with pytest.raises(ConfigError, match="control models do not take"):
        run(place, tiny_folder, "controls", "role=control", *options)


class Killed(BaseException):
    """Like SIGKILL: nobody catches it."""


@pytest.mark.slow
def test_a_study_goes_on_after_a_kill(
    whole: Path,
    place: Path,
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    few = ["placement.policies=[all,first_k]", "placement.study=null"]
    original, calls = placement_study.fit, 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(placement_study, "fit", counted)
    with pytest.raises(Killed):
        study(place, tiny_folder, "killed", *few)
    killed = place / "outputs" / "train" / "killed"
    assert not (killed / "placement.json").exists()
    again = study(place, tiny_folder, "killed", *few)
    assert calls == 3, "the first of two was done"
    for name in ("blocks-0-3", "blocks-0-1"):
        scores = [
            json.loads((run / "fits" / name / "seed-1.json").read_text())["scores"]
            for run in (killed, whole)
        ]
        assert scores[0] == scores[1]
    assert again.metrics["placement"]["verdict"][:20] in capsys.readouterr().err
    with pytest.raises(ResultsError, match="already holds the results"):
        study(place, tiny_folder, "killed", *few)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["placement.k=9"], "nothing to compare: .* between 1 and 4: k=9"),
        (["placement.study=nowhere"], r"no layer table at nowhere/layers\.parquet"),
        (["adapter.peft.r=1", "adapter.peft.target_modules=[nothing]"], "PEFT cannot adapt"),
    ],
)
def test_what_cannot_be_studied_is_told(
    place: Path, tiny_folder: Path, overrides: list[str], words: str
) -> None:
    policies = "placement.policies=[all,top_gain]"
    with pytest.raises(TaskdepthError, match=words):
        study(place, tiny_folder, f"bad{len(words)}", policies, *overrides)


def test_a_policy_that_cannot_choose_is_left_out_and_listed(place: Path, tiny_folder: Path) -> None:
    policies = "placement.policies=[all,manual,inverse,last_k]"
    result = study(place, tiny_folder, "listed", policies, "placement.blocks=[7]")
    assert set(result.metrics["left_out"]) == {"manual"}
    assert "do not exist" in result.metrics["left_out"]["manual"]
    lines = result.metrics["placement"]["lines"]
    assert {line["policy"] for line in lines} == {"all", "inverse", "last_k"}


def test_seeds_change_rows_and_random_blocks_and_without_ranking_only_targets_are_scored(
    place: Path, tiny_folder: Path
) -> None:
    policies = "placement.policies=[all,random]"
    result = study(
        place, tiny_folder, "seeds", policies, "placement.ranking=false", "placement.seeds=[0,3]"
    )
    found = result.metrics["placement"]
    assert set(found["lines"][0]["scores"]) == {"loss", "exact_match"}
    assert {line["draws_blocks"] for line in found["lines"]} == {True, False}
    records = [
        json.loads((result.run_dir / "fits" / "blocks-0-3" / f"seed-{seed}.json").read_text())
        for seed in (0, 3)
    ]
    assert records[0]["train_loss"] != records[1]["train_loss"]
