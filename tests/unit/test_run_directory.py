from __future__ import annotations

from pathlib import Path

import pytest

from taskdepth.config import TrainConfig
from taskdepth.errors import ResultsError
from taskdepth.run_directory import RunDirectory


def config(**changes: object) -> TrainConfig:
    return TrainConfig(**({"name": "x"} | changes))  # type: ignore[arg-type]


def opened(path: Path, settings: TrainConfig, **options: bool) -> RunDirectory:
    return RunDirectory.begin(path, settings, "metrics.json", **options)


def test_an_interrupted_run_is_opened_again(tmp_path: Path) -> None:
    run = opened(tmp_path / "run", config())
    (run / "checkpoint").write_text("half")
    again = opened(tmp_path / "run", config())
    assert (again / "checkpoint").read_text() == "half"
    assert again.read("provenance.json")["seed"] == 0
    assert (again / "config.yaml").read_text().startswith("name: x")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (config(), "already holds the results of these settings"),
        (config(seed=1), "holds a run with other settings"),
    ],
)
def test_results_are_never_written_over(
    tmp_path: Path, settings: TrainConfig, message: str
) -> None:
    opened(tmp_path, config()).finish({"loss": 1})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ResultsError, match=message):
        opened(tmp_path, settings)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_overwrite_starts_afresh_but_only_in_a_run_of_ours(tmp_path: Path) -> None:
    opened(tmp_path / "run", config()).finish({"loss": 1})
    run = opened(tmp_path / "run", config(overwrite=True, seed=3))
    assert not (run / "metrics.json").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ResultsError, match="no run of taskdepth wrote"):
        opened(tmp_path / "mine", config(overwrite=True))
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_a_run_that_got_nowhere_is_in_nobodys_way(tmp_path: Path) -> None:
    opened(tmp_path, config())
    assert opened(tmp_path, config(seed=1)).read("provenance.json")["seed"] == 1
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ResultsError, match="other settings"):
        opened(tmp_path, config(seed=2))


def test_reopen_is_for_stages_that_are_run_again(tmp_path: Path) -> None:
    opened(tmp_path, config()).finish({})
    opened(tmp_path, config(), reopen=True)
    with pytest.raises(ResultsError, match="other settings"):
        opened(tmp_path, config(seed=2), reopen=True)
