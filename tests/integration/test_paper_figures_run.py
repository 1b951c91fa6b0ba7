"""`report=paper_figures` on a tiny model with control adapters, beside a run that was finished before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from taskdepth import config
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.store import ActivationStore
from taskdepth.errors import ConfigError, DataError
from taskdepth.pipelines import probe
from taskdepth.results.table import LayerTable
from taskdepth.results.task_maps import MEASURES, TaskMaps
from taskdepth.similarity import dimensions_for_variance
from taskdepth.similarity.tasks import task_similarity

TASKS = {"mood": "nli", "truth": "nli", "tone": "sentiment", "taste": "sentiment", "echo": "misc"}
N_TEST = {task: 8 + 2 * number for number, task in enumerate(TASKS)}
WORDS = ["film", "no", "yes", "dog", "cat", "house"]
SMALL = ["report=paper_figures", "report.paper_figures.n_permutations=99"]


def write_tasks(folder: Path) -> None:
    folder.mkdir()
    lines = ["task\tcluster\tkind\tlabels"]
    for task, cluster in TASKS.items():
        lines.append(f"{task}\t{cluster}\tclassification\tno|yes")
        splits = ["train"] * 12 + ["validation"] * 6 + ["test"] * N_TEST[task]
        rows = [
            {
                "example_id": f"{task}-{i}",
                "split": split,
                "prompt": f"{task}: the {WORDS[i % 6]} {'runs' if i % 2 else 'sleeps'} {i}",
                "targets": [["no", "yes"][i % 2]],
                "label": ["no", "yes"][i % 2],
            }
            for i, split in enumerate(splits)
        ]
        (folder / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "tasks.tsv").write_text("\n".join(lines) + "\n")


def write_adapter(folder: Path, base: Path, seed: int) -> None:
    torch.manual_seed(seed)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """Tasks, an experimental model that has not seen `echo`, and a control model of each task."""
    folder = tmp_path_factory.mktemp("paper")
    write_tasks(folder / "tasks")
    write_adapter(folder / "exp" / "adapter", tiny_folder, 0)
    about = {
        task: {"unseen": task == "echo", "drawn": None if task == "echo" else {"rows": 10 * n}}
        for n, task in enumerate(TASKS, start=1)
    }
    (folder / "exp" / "metrics.json").write_text(json.dumps({"tasks": about}))
    for seed, task in enumerate(TASKS, start=1):
        write_adapter(folder / "con" / task, tiny_folder, seed)
    listed = {"controls": {task: {"adapter": task} for task in TASKS}}
    (folder / "con" / "controls.json").write_text(json.dumps(listed))
    return folder


def settings(place: Path, base: Path, *overrides: str) -> Any:
    asked = [f"paths.root='{place}'", "data=folder", f"data.path='{place}/tasks'", "logger=none"]
    asked += [f"models.pretrained='{base}'", f"models.experimental='{place}/exp'", "name=found"]
    asked += [f"models.controls='{place}/con'", "similarity.n_bootstrap=8", "probe.targets=[label]"]
    asked += ["selection=manual", "selection.blocks=[0]", *overrides]
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        return config.resolve(compose("probe", asked))


@pytest.fixture(scope="module")
def run_dir(place: Path, tiny_folder: Path) -> Path:
    """A run without the figures, then the figures alone."""
    stages = "stages=[extract,compare,select,report]"
    plain = probe.run(settings(place, tiny_folder, stages)).run_dir
    assert not (plain / "task_maps.safetensors").exists()
    return probe.run(settings(place, tiny_folder, *SMALL, "stages=[report]")).run_dir


@pytest.fixture(scope="module")
def told(run_dir: Path) -> dict[str, Any]:
    return json.loads((run_dir / "paper_figures.json").read_text())


def states(place: Path, role: str, task: str) -> torch.Tensor:
    """The test prompts' last tokens at all depths, straight from the store."""
    folder = place / "outputs" / "activations"
    for manifest in folder.rglob("manifest.json"):
        about = json.loads(manifest.read_text())["about"]
        if (about["role"], about["task"], about["split"]) == (role, task, "test"):
            return ActivationStore(folder).read(manifest.parent.name).states[Pooling.LAST_TOKEN]
    raise AssertionError(f"no states of {role}, {task}")


def test_the_run_holds_all_six_figures(run_dir: Path) -> None:
    names = {path.name for path in (run_dir / "figures").glob("paper_fig*.png")}
    assert names == {f"paper_fig{k}.png" for k in range(2, 8)}


def test_maps_are_of_states_in_the_store_at_equal_n(run_dir: Path, place: Path) -> None:
    maps = TaskMaps.read(run_dir / "task_maps.safetensors")
    assert maps.roles == ("pretrained", "experimental")
    assert maps.depths == (0, 1, 2, 3, 4)
    assert dict(zip(maps.tasks, maps.clusters, strict=True)) == TASKS
    assert maps.n == min(N_TEST.values())
    for measure in MEASURES:
        at = maps.at(measure, "experimental", 3)
        torch.testing.assert_close(at, at.T)
        assert (at.diagonal()[at.diagonal().isfinite()] == 1).all()
        assert maps.at(measure, "pretrained", 0).isnan().all(), "one and the same last token"
    assert not torch.equal(
        maps.at("covariance_cosine", "pretrained", 4),
        maps.at("covariance_cosine", "experimental", 4),
    )


def test_all_rows_of_every_task_when_they_are_as_many(
    place: Path, tiny_folder: Path, run_dir: Path
) -> None:
    """With as many rows of every task none is left out: the map is that of the states themselves."""
    same_n = f"extraction.max_examples.test={min(N_TEST.values())}"
    stages = "stages=[extract,compare,select,report]"
    run = probe.run(settings(place, tiny_folder, *SMALL, stages, same_n, "name=same")).run_dir
    maps = TaskMaps.read(run / "task_maps.safetensors")
    n = min(N_TEST.values())
    for role in maps.roles:
        expected = task_similarity([states(place, role, task)[3, :n] for task in maps.tasks])
        for measure in MEASURES:
            found = maps.at(measure, role, 3)
            wanted = getattr(expected, measure).float()
            torch.testing.assert_close(found, wanted, equal_nan=True)
    told = json.loads((run / "paper_figures.json").read_text())
    dimensions = [
        float(dimensions_for_variance(states(place, "control", task)[2, :n])) for task in maps.tasks
    ]
    box = told["figure_5"]["control"][1]
    assert box["layer"] == 2
    assert box["quantiles"][::4] == [min(dimensions), max(dimensions)]


def test_training_size_is_that_of_the_experimental_run(told: dict[str, Any]) -> None:
    sizes = {task: about["training_size"] for task, about in told["figure_6"]["properties"].items()}
    assert sizes == {"mood": 10, "truth": 20, "tone": 30, "taste": 40, "echo": None}
    assert told["unseen"] == ["echo"]
    n = {one["property"]: one["n"] for one in told["figure_6"]["correlations"]}
    assert n == {"flesch_kincaid": 5, "coleman_liau": 5, "training_size": 4}


def test_correlations_are_with_the_similarities_of_the_table(
    told: dict[str, Any], run_dir: Path
) -> None:
    from scipy.stats import false_discovery_control, spearmanr

    table = LayerTable.read(run_dir / "layers.parquet")
    found = told["figure_6"]["correlations"]
    assert len(found) == 2 * 3 * 4, "models, properties, layers"
    for one in found:
        rows = table.where(
            kind="similarity", role=one["role"], depth=one["layer"], name="debiased_cka"
        )
        values = {row.task: row.value for row in rows}
        pairs = [
            (about[one["property"]], values[task])
            for task, about in told["figure_6"]["properties"].items()
            if about[one["property"]] is not None
        ]
        assert one["rho"] == pytest.approx(spearmanr(*zip(*pairs, strict=True)).statistic)
    q = false_discovery_control([one["p"] for one in found])
    assert [one["q"] for one in found] == pytest.approx(q.tolist())


def test_geometry_of_the_table_is_taken_where_it_is(
    place: Path, tiny_folder: Path, run_dir: Path
) -> None:
    table = LayerTable.read(run_dir / "layers.parquet")
    like = table.where(kind="similarity", name="debiased_cka")
    from dataclasses import replace

    known = [
        replace(row, role=role, kind="geometry", name="dimensions_for_variance", value=7.0)
        for row in like.where(role="pretrained")
        for role in ("pretrained", "experimental", "control")
    ]
    (table + LayerTable(known)).write(run_dir / "layers.parquet")
    probe.run(settings(place, tiny_folder, *SMALL, "stages=[report]"))
    told = json.loads((run_dir / "paper_figures.json").read_text())
    table.write(run_dir / "layers.parquet")
    boxes = told["figure_5"]["experimental"]
    assert [box["quantiles"] for box in boxes] == [[7.0] * 5] * 4


@pytest.mark.parametrize(
    ("overrides", "kind", "words"),
    [
        (["report.paper_figures.layers=[9]"], ConfigError, "layer 9 is not one of 1 to 4"),
        (["tasks=[mood,tone]", "name=two"], DataError, "3 tasks or more"),
    ],
)
def test_what_cannot_be_drawn_is_told(
    place: Path, tiny_folder: Path, run_dir: Path, overrides: list[str], kind: type, words: str
) -> None:
    stages = "stages=[report]" if "name=two" not in overrides else "stages=[compare,select,report]"
    with pytest.raises(kind, match=words):
        probe.run(settings(place, tiny_folder, *SMALL, stages, *overrides))
