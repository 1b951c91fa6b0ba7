"""Which models are held beside the compared ones."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taskdepth.errors import ModelError
from taskdepth.pipelines.yardsticks import yardsticks
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import ModelRef, Role

CLUSTERS = {"rte": "nli", "cb": "nli", "sst2": "sentiment", "imdb": "sentiment", "aeslc": "summary"}
SPECS = [TaskSpec(name, cluster, Kind.GENERATION) for name, cluster in CLUSTERS.items()]


def controls(folder: Path, seed: int | None = 0) -> Path:
    listed = {}
    for name in CLUSTERS:
        adapter = folder / "controls" / name / "adapter"
        adapter.mkdir(parents=True)
        (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "base"}')
        (adapter / "adapter_model.safetensors").touch()
        listed[name] = {"adapter": f"controls/{name}/adapter"}
    (folder / "controls.json").write_text(json.dumps({"controls": listed}))
    if seed is not None:
        (folder / "config.yaml").write_text(f"seed: {seed}\n")
    return folder


def asked(
    *, foils: int = 0, seed: int = 0, controls: Path | None = None, ceiling: Any = None
) -> Any:
    paths = {"controls": controls and str(controls), "ceiling": ceiling and str(ceiling)}
    return SimpleNamespace(
        seed=seed, models=SimpleNamespace(**paths), similarity=SimpleNamespace(foils=foils)
    )


def refs(names: list[str]) -> dict[str, ModelRef]:
    return {n: ModelRef(Role.CONTROL, f"control-{n}", "base", Path(n), n) for n in names}


def test_nothing_is_asked_for_nothing_is_there() -> None:
    assert set(yardsticks(asked(), SPECS, refs(list(CLUSTERS))).values()) == {()}


@pytest.mark.parametrize("seed", range(5))
def test_foils_are_other_tasks_and_other_clusters_first(seed: int) -> None:
    found = yardsticks(asked(foils=3, seed=seed), SPECS, refs(list(CLUSTERS)))
    for name, foils in found.items():
        tasks = [foil.task for foil in foils]
        assert len(set(tasks)) == 3
        assert name not in tasks
        assert {foil.role for foil in foils} == {Role.FOIL}
        assert [foil.name for foil in foils] == [f"control-{task}" for task in tasks]
        assert all(CLUSTERS[str(task)] != CLUSTERS[name] for task in tasks)


def test_a_fourth_foil_must_come_from_the_same_cluster() -> None:
    found = yardsticks(asked(foils=4), SPECS, refs(list(CLUSTERS)))
    assert [foil.task for foil in found["rte"]][-1] == "cb"


def test_foils_follow_the_seed_and_another_task_leaves_the_others_in_their_order() -> None:
    def chosen(specs: list[TaskSpec], seed: int = 0, foils: int = 3) -> dict[str, list[str | None]]:
        found = yardsticks(asked(foils=foils, seed=seed), specs, refs([s.name for s in specs]))
        return {name: [foil.task for foil in of_task] for name, of_task in found.items()}

    assert chosen(SPECS) == chosen(SPECS[::-1])
    assert len({str(chosen(SPECS, seed)) for seed in range(6)}) > 1
    fewer = [spec for spec in SPECS if spec.name != "aeslc"]
    kept = chosen(fewer, foils=2)["rte"]
    assert [task for task in chosen(SPECS)["rte"] if task != "aeslc"] == kept


def test_more_foils_than_tasks() -> None:
    with pytest.raises(ModelError, match="asks for 5 other tasks, but there are 4 beside rte"):
        yardsticks(asked(foils=5), SPECS, refs(list(CLUSTERS)))


@pytest.mark.parametrize("seeds", [(0, 1), (0, None), (None, None)])
def test_the_ceiling_is_the_control_model_of_another_run(
    tmp_path: Path, seeds: tuple[int | None, int | None]
) -> None:
    folders = [controls(tmp_path / name, seed) for name, seed in zip("ab", seeds, strict=True)]
    if seeds == (None, None):  # a config of another program
        for folder in folders:
            (folder / "config.yaml").write_text("model: other\n")
    config = asked(controls=folders[0], ceiling=folders[1], foils=1)
    found = yardsticks(config, SPECS, refs(list(CLUSTERS)))
    ceiling, foil = found["cb"]
    assert (ceiling.role, ceiling.name, ceiling.task) == (Role.CEILING, "ceiling-cb", "cb")
    assert ceiling.adapter == (folders[1] / "controls" / "cb" / "adapter").resolve()
    assert foil.role is Role.FOIL


def test_a_ceiling_of_the_same_seed_is_no_ceiling(tmp_path: Path) -> None:
    one, other = controls(tmp_path / "a", 3), controls(tmp_path / "b", 3)
    with pytest.raises(ModelError, match=r"tuned with seed 3, as models\.controls was: .*seed=4"):
        yardsticks(asked(controls=one, ceiling=other), SPECS, refs(list(CLUSTERS)))
