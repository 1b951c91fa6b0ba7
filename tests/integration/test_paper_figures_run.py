"""`report=paper_figures` on a tiny model with control adapters, beside a run that was finished before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from peft import LoraConfig, get_peft_model
from scipy.stats import false_discovery_control, spearmanr
from transformers import AutoModelForCausalLM

from taskdepth import config
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.store import ActivationStore
from taskdepth.data.rows import load
from taskdepth.errors import ConfigError, DataError
from taskdepth.pipelines import probe
from taskdepth.pipelines.bases import Bases
from taskdepth.pipelines.paper import paper_numbers
from taskdepth.pipelines.roster import roster
from taskdepth.pipelines.sources import open_source
from taskdepth.pipelines.study import Study
from taskdepth.results.paper_numbers import PaperNumbers
from taskdepth.results.table import LayerTable
from taskdepth.results.task_maps import MEASURES, TaskMaps
from taskdepth.similarity import dimensions_for_variance
from taskdepth.similarity.tasks import task_similarity
from taskdepth.tasks.spec import TaskSpec, select_tasks
from taskdepth.types import Example, Role, Split

TASKS = {"mood": "nli", "truth": "nli", "tone": "sentiment", "taste": "sentiment", "echo": "misc"}
N_TEST = dict.fromkeys(TASKS, 10) | {"echo": 14}
FULL = [task for task in TASKS if task != "echo"]  # all of their rows take part
WORDS = ["film", "no", "yes", "dog", "cat", "house"]
SMALL = ["report=paper_figures", "report.paper_figures.n_permutations=99"]

pytestmark = pytest.mark.slow  # make docs-test draws them in CI


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
    asked += ["selection=manual", "selection.blocks=[0]", "similarity.geometry=[]", *overrides]
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        return config.resolve(compose("probe", asked))


@pytest.fixture(scope="module")
def run_dir(place: Path, tiny_folder: Path) -> Path:
    """A run that did not ask for the figures, then the figures from its table and states."""
    probe.run(settings(place, tiny_folder, "stages=[extract,compare,select]"))
    return probe.run(settings(place, tiny_folder, *SMALL, "stages=[report]")).run_dir


def numbers(
    place: Path, base: Path, table: LayerTable, *overrides: str, tasks: list[str] | None = None
) -> PaperNumbers:
    """What a run would draw from `table` and the states that are there."""
    asked = settings(place, base, *SMALL, *overrides)
    source = open_source(asked.data, asked.seed)
    specs = select_tasks(source.specs(), tasks or "all")

    def examples(spec: TaskSpec, split: Split) -> list[Example]:
        return load(source, spec, split)

    store = ActivationStore(Path(asked.paths.activations))
    study = Study(asked, specs, roster(asked, specs), examples, Bases(asked), store)
    return paper_numbers(asked, specs, study, examples, table)


@pytest.fixture(scope="module")
def table(run_dir: Path) -> LayerTable:
    return LayerTable.read(run_dir / "layers.parquet")


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


def test_directions_and_dimensions_are_those_of_the_states(run_dir: Path, place: Path) -> None:
    maps = TaskMaps.read(run_dir / "task_maps.safetensors")
    keep = torch.tensor([maps.tasks.index(task) for task in FULL])
    for role in maps.roles:
        expected = task_similarity([states(place, role, task)[3] for task in FULL])
        found = maps.at("covariance_cosine", role, 3)[keep][:, keep]
        torch.testing.assert_close(found, expected.covariance_cosine.float(), equal_nan=True)


def test_dimensions_of_the_control_models_are_on_their_own_tasks(
    place: Path, tiny_folder: Path, table: LayerTable
) -> None:
    found = numbers(place, tiny_folder, table).dimensions(Role.CONTROL)
    for task in FULL:
        expected = dimensions_for_variance(states(place, "control", task)[2])
        assert found.at(task, 2) == float(expected)
    assert (found.n == 10).all()


def test_rows_points_and_layers_can_be_chosen(
    place: Path, tiny_folder: Path, table: LayerTable
) -> None:
    few = ["report.paper_figures.rows_per_task=6", "report.paper_figures.points_per_task=2"]
    few.append("report.paper_figures.layers=[4,2]")
    found = numbers(place, tiny_folder, table, *few)
    assert [panel.layer for panel in found.scatters] == [2, 4, 2, 4]
    assert found.maps.n == 6
    assert (found.dimensions(Role.PRETRAINED).values <= 5).all()
    assert {len(panel.points) for panel in found.scatters} == {2 * len(TASKS)}
    again = numbers(place, tiny_folder, table, *few)
    for measure in MEASURES:
        assert torch.equal(
            found.maps.values[measure].nan_to_num(9), again.maps.values[measure].nan_to_num(9)
        )


def test_training_size_is_that_of_the_experimental_run(told: dict[str, Any]) -> None:
    sizes = {task: about["training_size"] for task, about in told["figure_6"]["properties"].items()}
    assert sizes == {"mood": 10, "truth": 20, "tone": 30, "taste": 40, "echo": None}
    assert list(told["figure_2"]["unseen"]["experimental"]) == ["echo"]
    n = {one["property"]: one["n"] for one in told["figure_6"]["correlations"]}
    assert n == {"flesch_kincaid": 5, "coleman_liau": 5, "training_size": 4}


def test_correlations_are_with_the_similarities_of_the_table(
    told: dict[str, Any], table: LayerTable
) -> None:
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
    place: Path, tiny_folder: Path, table: LayerTable
) -> None:
    like = table.where(kind="similarity", name="debiased_cka", role="pretrained")
    for roles, value in ((("pretrained", "experimental", "control"), 7.0), (("control",), None)):
        known = [
            replace(row, role=role, kind="geometry", name="dimensions_for_variance", value=7.0)
            for row in like
            for role in roles
        ]
        found = numbers(place, tiny_folder, table + LayerTable(known)).dimensions(Role.CONTROL)
        assert (found.values == 7.0).all() == (value == 7.0), "all models or none"


def test_tasks_of_a_cluster_stand_together(
    place: Path, tiny_folder: Path, table: LayerTable
) -> None:
    tasks = ["mood", "tone", "truth"]
    about = LayerTable(row for row in table if row.task in tasks)
    found = numbers(place, tiny_folder, about, tasks=tasks)
    assert found.maps.tasks == ("mood", "truth", "tone")
    assert found.points_of[0] == "mood"


@pytest.mark.parametrize(
    ("overrides", "tasks", "kind", "words"),
    [
        (["report.paper_figures.layers=[9]"], None, ConfigError, "layer 9 is not one of 1 to 4"),
        ([], ["mood", "tone"], DataError, "compares 3 tasks or more"),
    ],
)
def test_what_cannot_be_drawn_is_told(
    place: Path,
    tiny_folder: Path,
    table: LayerTable,
    overrides: list[str],
    tasks: list[str] | None,
    kind: type[Exception],
    words: str,
) -> None:
    with pytest.raises(kind, match=words):
        numbers(place, tiny_folder, table, *overrides, tasks=tasks)


def test_what_cannot_be_drawn_is_told_before_anything_is_read(
    place: Path, tiny_folder: Path, run_dir: Path
) -> None:
    asked = settings(place, tiny_folder, *SMALL, "report.paper_figures.layers=[9]", "name=early")
    with pytest.raises(ConfigError, match="layer 9"):
        probe.run(asked)
    assert not run_dir.with_name("early").exists()
