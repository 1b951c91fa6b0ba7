"""States that only pass through memory measure what states on disk do, also after an interruption."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from taskdepth import config
from taskdepth.errors import ConfigError
from taskdepth.pipelines import probe, streaming, train
from taskdepth.results.depth_maps import DepthMaps
from taskdepth.results.table import LayerTable

TASKS = ["demo_both_members", "demo_capital_city", "demo_hypernym_nli"]
ROWS = {"train": 24, "validation": 8, "test": 12}


def settings(command: str, place: Path, *overrides: str) -> Any:
    shared = [f"paths.root='{place}'", "tasks=[" + ",".join(TASKS) + "]", "logger=none"]
    shared.append("data.max_length_tokens=64")
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        return config.resolve(compose(command, [*shared, *overrides]))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> list[str]:
    """The overrides of a small study, with its place first."""
    place = tmp_path_factory.mktemp("streaming")
    asked = [f"model.path='{tiny_folder}'", "name=c", "role=control", "adapter=lora"]
    asked += ["trainer.max_steps=2", "trainer.batch_size_examples=4", "callbacks=none"]
    asked += ["trainer.val_examples_per_task=2", "trainer.accelerator=cpu", "optimizer.lr=0.02"]
    controls = train.run(settings("train", place, *asked)).run_dir
    limits = ", ".join(f"{name}: {n}" for name, n in ROWS.items())
    return [
        str(place),
        f"models.pretrained='{tiny_folder}'",
        f"models.controls='{controls}'",
        f"extraction.max_examples={{{limits}}}",
        "extraction.accelerator=cpu",
        "probe.targets=[task,cluster,label,option,first_token]",
        "stages=[extract,probe,compare]",
        "extraction.poolings=[last_token]",
        "similarity.poolings=[last_token]",
        "similarity.n_bootstrap=10",
        "similarity.depth_maps=tasks",
    ]


def measured(study: list[str], *overrides: str) -> Path:
    return probe.run(settings("probe", Path(study[0]), *study[1:], *overrides)).run_dir


@pytest.fixture(scope="module")
def stored(study: list[str]) -> Path:
    return measured(study, "name=stored", "probe.l2s=[1.0,100.0]")


def assert_same(one: Path, other: Path) -> None:
    """Row for row; sums in other orders may round differently."""
    tables = [
        {
            (r.role, r.model, r.task, r.depth, r.kind, r.target, r.name, r.reference): r
            for r in LayerTable.read(run / "layers.parquet")
        }
        for run in (one, other)
    ]
    assert tables[0].keys() == tables[1].keys()
    for key, row in tables[0].items():
        found = tables[1][key]
        assert found.n == row.n, key
        assert found.value == pytest.approx(row.value, rel=1e-5, abs=1e-7, nan_ok=True), key
    for name in ("undefined.json", "influential_examples.json"):
        found, expected = (json.loads((run / name).read_text()) for run in (one, other))
        assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)
    maps = [list(DepthMaps.read(run / "depth_maps.parquet")) for run in (one, other)]
    assert [m.task for m in maps[0]] == [m.task for m in maps[1]]
    for found, expected in zip(*maps, strict=True):
        np.testing.assert_allclose(found.values, expected.values, rtol=1e-5, atol=1e-7)


def test_nothing_is_kept_and_everything_is_the_same(study: list[str], stored: Path) -> None:
    elsewhere = Path(study[0]) / "elsewhere"
    asked = [f"paths.activations='{elsewhere}'", "probe.l2s=[1.0,100.0]"]
    run = measured(study, "name=streamed", "extraction.keep=none", *asked)
    assert not elsewhere.exists()
    assert_same(run, stored)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_after_the_last_finished_task(
    study: list[str], stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["name=interrupted", "extraction.keep=none", "probe.l2s=[1.0,100.0]"]
    compare_all, seen = streaming.compare_all, []

    def fails_at_the_second(config: Any, specs: Any, study: Any) -> Any:
        seen.append(specs[0].name)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return compare_all(config, specs, study)

    monkeypatch.setattr(streaming, "compare_all", fails_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        measured(study, *asked)
    first, second = seen
    run = measured(study, *asked)
    assert seen[2] == second
    assert first not in seen[2:], "what was finished is not done again"
    assert_same(run, stored)


def test_tasks_are_told_apart_by_a_sample(study: list[str], stored: Path) -> None:
    asked = ["extraction.keep=none", "extraction.sample_rows=7", "probe.l2s=[1.0,100.0]"]
    table = LayerTable.read(measured(study, "name=sampled", *asked) / "layers.parquet")
    across = table.where(target="task", name="accuracy")
    assert {row.n for row in across if row.task == "all"} == {7 * len(TASKS)}
    labels = table.where(target="label", name="accuracy")
    expected = LayerTable.read(stored / "layers.parquet").where(target="label", name="accuracy")
    assert [row.n for row in labels] == [row.n for row in expected]


@pytest.mark.parametrize(
    ("overrides", "words", "is_kept"),
    [
        ([], ["kept in", "states"], True),
        (["extraction.keep=none"], ["nothing is kept; up to 256 rows", "task and cluster"], False),
        (["extraction.keep=none", "probe.targets=[label]"], ["nothing is kept"], False),
    ],
)
def test_the_plan_says_what_is_kept(
    study: list[str],
    overrides: list[str],
    words: list[str],
    is_kept: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    elsewhere = Path(study[0]) / "states"
    measured(study, "extraction.plan=true", f"paths.activations='{elsewhere}'", *overrides)
    said = " ".join(capsys.readouterr().err.split())
    assert all(word in said for word in words), said
    total = re.search(r"│ all │.*?([\d.]+) MB │", said)
    assert total is not None
    assert (float(total[1]) > 0) == is_kept
    assert not elsewhere.exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["probe.transfer=true"], "several tasks at once"),
        (["extraction.store_dtype=bfloat16"], "stores nothing"),
        (["stages=[probe]"], "need extract"),
        (["extraction.sample_rows=0"], "must be positive"),
    ],
)
def test_what_needs_states_on_disk_is_refused(
    study: list[str], overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        measured(study, "name=refused", "extraction.keep=none", *overrides)
