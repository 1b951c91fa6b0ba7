import base64
import math
from dataclasses import replace

import numpy as np
import pytest

from taskdepth.report.contents import contents
from taskdepth.report.study import Study
from taskdepth.results.findings import summarise
from taskdepth.results.layer_grid import grid
from taskdepth.results.table import LayerTable


def unpacked(content: dict) -> np.ndarray:
    """What the page makes of a packed array, flat."""
    codes = np.frombuffer(base64.b64decode(content["data"]), dtype="<u2")
    return np.where(codes == 65535, np.nan, content["lowest"] + content["step"] * codes)


def one(found: dict, **equals: object) -> dict:
    (match,) = [g for g in found["grids"] if all(g[k] == v for k, v in equals.items())]
    return match


@pytest.mark.parametrize("role", ["pretrained", "experimental", "ceiling"])
@pytest.mark.parametrize("part", ["values", "lower", "upper"])
def test_grids_hold_the_values_of_the_table(study: Study, role: str, part: str) -> None:
    found = contents([study])
    shown = one(found, role=role, name="debiased_cka")
    expected = grid(study.table, kind="similarity", role=role, name="debiased_cka")
    np.testing.assert_allclose(unpacked(shown[part]), getattr(expected, part).ravel(), atol=1e-5)
    assert [found["tasks"][i]["name"] for i in shown["tasks"]] == list(expected.tasks)
    assert [found["tasks"][i]["cluster"] for i in shown["tasks"]] == list(expected.clusters)
    assert shown["layers"] == list(range(1, 9))
    assert shown["n"] == expected.n[:, 0].tolist()


def test_every_quantity_is_there_but_settings(study: Study) -> None:
    shown = {(g["kind"], g["target"], g["name"]) for g in contents([study])["grids"]}
    names = {(r.kind, r.target, r.name) for r in study.table if not r.name.startswith("l2")}
    assert shown == names


def test_no_interval_no_ends(study: Study) -> None:
    assert "lower" not in one(
        contents([study]), role="experimental", name="majority", target="label"
    )


def test_a_role_of_many_models_is_one_series(study: Study) -> None:
    assert len({r.model for r in study.table.where(role="ceiling")}) == 5
    shown = one(contents([study]), role="ceiling", name="debiased_cka")
    assert shown["label"] == "control model of another seed"
    assert len(shown["tasks"]) == 5


def test_two_models_of_one_role_are_told_apart(study: Study) -> None:
    second = LayerTable(replace(r, model="b") for r in study.table.where(role="experimental"))
    table = study.table + second
    both = Study("x", study.folder, table, summarise(study.table))
    labels = [g["label"] for g in contents([both])["grids"] if g["name"] == "debiased_cka"]
    assert "experimental model (experimental)" in labels
    assert "experimental model (b)" in labels
    assert "pre-trained model" in labels


def test_tasks_of_the_same_name_and_cluster_are_one_over_runs(study: Study) -> None:
    found = contents([study, replace(study, name="again")])
    assert found["tasks"] == contents([study])["tasks"]
    pairs = {(g["run"], g["colour"]) for g in found["grids"] if g["name"] == "debiased_cka"}
    assert len(pairs) == len({colour for _, colour in pairs}) == 6


def test_regions_and_blocks_are_told(study: Study) -> None:
    (run,) = contents([study])["runs"]
    assert [(r["name"], r["first"], r["last"]) for r in run["regions"]] == [
        ("shared", 1, 2),
        ("transition", 3, 4),
        ("refinement", 5, 8),
    ]
    assert run["intervals"] == [[1, 2], [3, 5]]
    assert run["adapted"] == [3, 4]
    assert "p = 0.004" in run["said"]
    assert "The curves show" not in run["said"]
    assert study.regions is not None
    chosen = replace(study, regions=replace(study.regions, chosen=True))
    assert "The curves show 3 regions, not fewer." in contents([chosen])["runs"][0]["said"]


@pytest.mark.parametrize(
    ("regions", "said"), [(None, "not looked for"), ("none", "No regions were found: too flat.")]
)
def test_no_regions_are_said_to_be_none(study: Study, regions, said: str) -> None:
    if regions:
        assert study.regions is not None
        regions = replace(
            study.regions, found=False, boundaries=(), intervals=(), reason="too flat"
        )
    (run,) = contents([replace(study, regions=regions)])["runs"]
    assert run["regions"] == run["intervals"] == []
    assert said in run["said"]


def test_maps_hold_their_values(study: Study) -> None:
    found = contents([study])
    wanted = study.depth_maps.one("experimental", "control")
    (first,) = [
        m
        for m in found["depth_maps"]
        if (m["title"], m["y"], m["x"], m["task"])
        == ("debiased linear CKA", "experimental model", "control model", "mean over 5 tasks")
    ]
    np.testing.assert_allclose(unpacked(first["values"]), wanted.values.ravel(), atol=1e-5)
    assert (first["rows"], first["columns"], first["n"]) == (9, 9, 200)
    assert study.task_maps is not None
    shown = next(m for m in found["task_maps"] if m["role"] == "experimental")
    wanted_maps = study.task_maps.values["centroid_cosine"][1].numpy().ravel()
    np.testing.assert_allclose(unpacked(shown["values"]), wanted_maps, atol=1e-5)
    names = [found["tasks"][i]["name"] for i in shown["tasks"]]
    assert tuple(names) == study.task_maps.tasks


def test_maps_of_single_tasks_are_those_of_the_default_measure(study: Study) -> None:
    titles = {m["title"] for m in contents([study])["depth_maps"] if m["task"] == "rte"}
    assert titles == {"debiased linear CKA"}


def test_undefined_is_kept_apart_from_zero(study: Study) -> None:
    rows = [r for r in study.table if r.name == "debiased_cka" and r.role == "experimental"]
    rows = [replace(r, value=math.nan) if r.depth == 3 else replace(r, value=0.0) for r in rows]
    table = LayerTable(rows)
    shown = contents([Study("x", study.folder, table, summarise(table))])["grids"][0]
    values = unpacked(shown["values"]).reshape(5, 8)
    assert np.isnan(values[:, 2]).all()
    assert (np.delete(values, 2, axis=1) == 0).all()
