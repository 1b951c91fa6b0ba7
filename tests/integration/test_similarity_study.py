"""All that the compare stage can be asked for, on a tiny model with adapters that nobody trained."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from taskdepth import config
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.store import ActivationStore
from taskdepth.errors import TaskdepthError
from taskdepth.pipelines import probe
from taskdepth.results.depth_maps import DepthMaps
from taskdepth.results.table import LayerTable
from taskdepth.similarity import debiased_cka, geometry_of, rsa
from taskdepth.similarity.centring import standardised

CLUSTERS = {"mood": "nli", "truth": "nli", "tone": "sentiment"}
N_ROWS = {"mood": 16, "truth": 14, "tone": 13}
ASKED = ["debiased_cka", "linear_cka", "rbf_cka", "svcca", "mutual_knn", "rsa"]
WORDS = ["film", "dog", "cat", "house", "garden", "true", "good", "bad"]


def write_tasks(folder: Path) -> None:
    folder.mkdir()
    lines = ["task\tcluster\tkind\tlabels"]
    for number, (task, cluster) in enumerate(CLUSTERS.items()):
        lines.append(f"{task}\t{cluster}\tgeneration\t")
        rows = []
        for split, n_rows in (("train", 2), ("validation", 2), ("test", N_ROWS[task])):
            rows += [
                json.dumps(
                    {
                        "example_id": f"{task}-{split}-{i}",
                        "split": split,
                        "prompt": f"{task}: the {WORDS[(i + number) % 8]} {'runs' if i % 2 else 'sits'} {i}",
                        "targets": [WORDS[i % 8]],
                    }
                )
                for i in range(n_rows)
            ]
        (folder / f"{task}.jsonl").write_text("\n".join(rows) + "\n")
    (folder / "tasks.tsv").write_text("\n".join(lines) + "\n")


def write_controls(folder: Path, model: Path, seed: int) -> None:
    """Control models as `experiment=control_models` leaves them, with adapters drawn at random."""
    listed = {}
    for number, task in enumerate(CLUSTERS):
        torch.manual_seed(100 * seed + number)
        settings = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(model), settings)
        adapter = folder / "controls" / task / "adapter"
        tuned.save_pretrained(adapter)
        listed[task] = {"adapter": str(adapter.relative_to(folder))}
    (folder / "controls.json").write_text(json.dumps({"controls": listed}))


def settings(place: Path, model: Path, *overrides: str) -> Any:
    asked = [f"paths.root='{place}'", "data=folder", f"data.path='{place}/tasks'", "logger=none"]
    asked += [f"models.pretrained='{model}'", f"models.controls='{place}/controls'"]
    asked += ["stages=[extract,compare,report]", "similarity.n_bootstrap=10"]
    asked += ["weights.enabled=false", *overrides]
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        return config.resolve(compose("probe", asked))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("similarity")
    write_tasks(folder / "tasks")
    write_controls(folder / "controls", tiny_folder, seed=0)
    write_controls(folder / "ceiling", tiny_folder, seed=1)
    return folder


@pytest.fixture(scope="module")
def run_dir(place: Path, tiny_folder: Path) -> Path:
    asked = ["name=all", "similarity=thorough", f"models.ceiling='{place}/ceiling'"]
    asked += ["similarity.n_shuffles=1", "similarity.poolings=[last_token]"]
    asked += [f"similarity.measures=[{','.join(ASKED)}]"]
    return probe.run(settings(place, tiny_folder, *asked)).run_dir


@pytest.fixture(scope="module")
def table(run_dir: Path) -> LayerTable:
    return LayerTable.read(run_dir / "layers.parquet")


def states(place: Path, role: str, task: str) -> torch.Tensor:
    """The test rows, as they are stored."""
    store = ActivationStore(place / "outputs" / "activations")
    for manifest in (place / "outputs" / "activations").rglob("manifest.json"):
        about = json.loads(manifest.read_text())["about"]
        if (about["role"], about["task"], about["split"]) == (role, task, "test"):
            return store.read(manifest.parent.name).states[Pooling.LAST_TOKEN]
    raise AssertionError(f"no states of {role}, {task}")


def values(table: LayerTable, **about: Any) -> list[float]:
    return [row.value for row in sorted(table.where(**about), key=lambda row: row.depth)]


@pytest.mark.parametrize("role", ["pretrained", "ceiling", "foil"])
def test_every_measure_is_at_every_depth_with_its_floor(table: LayerTable, role: str) -> None:
    for measure in ASKED:
        for name in (f"{measure}{v}{b}" for v in ("", "_standardised") for b in ("", "_shuffled")):
            rows = table.where(kind="similarity", role=role, name=name, reference="control")
            places = {(row.task, row.depth) for row in rows}
            assert len(rows) == len(places) == 3 * 5, name
            assert {row.n for row in rows} == {13}, "match_n"


def test_values_are_those_of_the_stored_states(place: Path, table: LayerTable) -> None:
    for role in ("pretrained", "ceiling", "foil"):
        x, y = states(place, role, "tone"), states(place, "control", "tone")
        for name, measure in (("debiased_cka", debiased_cka), ("rsa", rsa)):
            for variant in ("", "_standardised"):
                got = values(table, role=role, task="tone", name=name + variant)
                for depth in range(1, 5):
                    sides = x[depth], y[depth]
                    if variant:
                        sides = standardised(x[depth]), standardised(y[depth])
                    assert got[depth] == pytest.approx(float(measure(*sides)), abs=1e-6)


def test_intervals_and_influence_are_for_the_kinds_of_cka(table: LayerTable) -> None:
    for measure in ASKED:
        rows = table.where(role="pretrained", name=measure, depth=3)
        influence = table.where(role="pretrained", name=f"{measure}_influence", depth=3)
        if measure.endswith("_cka"):
            assert all(row.lower <= row.value <= row.upper for row in rows)
            assert {row.task for row in influence} == set(CLUSTERS)
        else:
            assert {(row.lower, row.upper) for row in rows} == {(None, None)}
            assert not len(influence)


def test_influential_examples_are_named(run_dir: Path, table: LayerTable) -> None:
    listed = json.loads((run_dir / "influential_examples.json").read_text())
    named = [e for e in listed if (e["role"], e["name"]) == ("pretrained", "linear_cka")]
    rows = table.where(role="pretrained", name="linear_cka_influence")
    large = {(r.task, r.depth): r.value for r in rows if not abs(r.value) < 0.05}
    large = {place: value for place, value in large.items() if not math.isnan(value)}
    assert {(e["task"], e["depth"]): e["influence"] for e in named} == pytest.approx(large)
    assert all(e["example_id"].startswith(f"{e['task']}-test-") for e in listed)


def test_each_task_has_a_ceiling_and_a_foil_of_another_cluster(table: LayerTable) -> None:
    for task, cluster in CLUSTERS.items():
        assert table.where(role="ceiling", task=task).unique("model") == [f"ceiling-{task}"]
        (foil,) = table.where(role="foil", task=task).unique("model")
        assert CLUSTERS[foil.removeprefix("control-")] != cluster


def test_geometry_of_every_model_and_task(place: Path, table: LayerTable) -> None:
    for role in ("pretrained", "control", "ceiling", "foil"):
        for name in config.GEOMETRY:
            rows = table.where(kind="geometry", role=role, name=name)
            assert {(row.task, row.depth) for row in rows} == {
                (task, depth) for task in CLUSTERS for depth in range(5)
            }
            assert {(row.reference, row.target) for row in rows} == {(None, None)}
        expected = [asdict(geometry_of(side)) for side in states(place, role, "tone")]
        for name in config.GEOMETRY:
            got = values(table, kind="geometry", role=role, task="tone", name=name)
            assert got == pytest.approx([e[name] for e in expected], abs=1e-6, nan_ok=True)


def test_what_is_undefined_has_a_reason(run_dir: Path, table: LayerTable) -> None:
    assert math.isnan(values(table, role="foil", task="tone", name="debiased_cka")[0])
    undefined = json.loads((run_dir / "undefined.json").read_text())
    assert set(undefined) == {"similarity", "geometry", "depth_maps"}
    for kind, pairs in undefined.items():
        constant = [what for what, why in pairs if "zero variance" in why]
        for role in ("pretrained", "control" if kind != "similarity" else "ceiling"):
            assert any(f"{role}, depth 0" in what for what in constant), (kind, role)
    told = {name for what, _ in undefined["similarity"] for name in what.split(" (")[0].split(", ")}
    missing = {
        row.name
        for row in table.where(kind="similarity")
        if math.isnan(row.value) and not row.name.endswith(("_shuffled", "_influence"))
    }
    assert "svcca" in missing
    assert missing <= told


def test_depth_maps_hold_the_curves_on_their_diagonal(run_dir: Path, table: LayerTable) -> None:
    maps = DepthMaps.read(run_dir / "depth_maps.parquet")
    assert {(m.role, m.reference) for m in maps} == {
        ("pretrained", "pretrained"),
        ("pretrained", "control"),
        ("control", "control"),
    }
    names = {"linear_cka", "debiased_cka"}
    assert {m.name for m in maps} == names
    assert len(maps) == 3 * 2 * (len(CLUSTERS) + 1)
    for task in CLUSTERS:
        for name in names:
            found = maps.one("pretrained", "control", name=name, task=task)
            curve = values(table, role="pretrained", task=task, name=name)
            np.testing.assert_allclose(np.diagonal(found.values), curve, atol=1e-5)
    mean = maps.one("pretrained", "control")
    each = [maps.one("pretrained", "control", task=task).values[1:, 1:] for task in CLUSTERS]
    np.testing.assert_allclose(mean.values[1:, 1:], np.mean(each, axis=0), atol=1e-12)
    assert (run_dir / "figures" / "depth_maps.png").exists()


def test_findings_tell_of_the_yardsticks(run_dir: Path) -> None:
    findings = json.loads((run_dir / "findings.json").read_text())
    (line,) = [line for line in findings["lines"] if line.startswith("Yardsticks")]
    assert "of another seed goes from" in line
    assert "another task's control model goes from" in line


def test_all_of_it_is_extracted_once_and_a_foil_more_is_added(
    run_dir: Path, place: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def manifests() -> dict[Path, int]:
        found = (place / "outputs" / "activations").rglob("manifest.json")
        return {path: path.stat().st_mtime_ns for path in found}

    before = manifests()
    quick = ["similarity.geometry=[]", "similarity.depth_maps=none", "similarity.n_shuffles=0"]
    ceiling = f"models.ceiling='{place}/ceiling'"
    again = [*quick, ceiling, "similarity.foils=1", "stages=[extract,compare]"]
    run = probe.run(settings(place, tiny_folder, "name=again", *again)).run_dir
    assert "extracted already" in capsys.readouterr().err
    assert manifests() == before
    assert not (run / "depth_maps.parquet").exists()
    table = LayerTable.read(run / "layers.parquet")
    assert table.unique("kind") == ["similarity"]
    assert set(table.unique("name")) == {
        f"{measure}{beside}{pooling}"
        for measure in ("debiased_cka", "linear_cka")
        for beside in ("", "_influence")
        for pooling in ("", "@mean")
    }
    more = [*quick, "similarity.foils=2", "stages=[extract,compare]"]
    run = probe.run(settings(place, tiny_folder, "name=more", *more)).run_dir
    assert len(manifests()) == len(before) + len(CLUSTERS)
    foils = LayerTable.read(run / "layers.parquet").where(role="foil", task="mood")
    assert len(foils.unique("model")) == 2


def test_more_foils_than_tasks_are_refused(place: Path, tiny_folder: Path) -> None:
    with pytest.raises(TaskdepthError, match="asks for 3 other tasks"):
        probe.run(settings(place, tiny_folder, "name=many", "similarity.foils=3"))
