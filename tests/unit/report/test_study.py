from pathlib import Path

import pytest

from study_files import write_run
from taskdepth.errors import ResultsError
from taskdepth.report.study import Study, read_studies, read_study
from taskdepth.results.table import LayerTable


def test_everything_beside_the_table_is_read(study: Study, tmp_path: Path) -> None:
    read = read_study(write_run(tmp_path / "a", study), "a")
    assert len(read.table) == len(study.table)
    assert read.selection == study.selection
    assert read.regions == study.regions
    assert read.findings == study.findings
    assert (read.provenance, read.undefined) == (study.provenance, study.undefined)
    assert len(read.depth_maps) == len(study.depth_maps)
    assert read.task_maps is not None


def test_the_table_alone_will_do_and_regions_are_looked_for(study: Study, tmp_path: Path) -> None:
    study.table.write(tmp_path / "layers.parquet")
    read = read_study(tmp_path, "a")
    assert read.regions is not None
    assert read.regions.n_layers == 8
    assert (read.selection, read.provenance, read.undefined) == (None, None, ())
    assert (len(read.depth_maps), read.task_maps) == (0, None)


def test_without_control_models_no_regions_are_looked_for(study: Study, tmp_path: Path) -> None:
    study.table.where(kind="probe").write(tmp_path / "layers.parquet")
    assert read_study(tmp_path, "a").regions is None


def test_runs_get_short_names_of_their_own(study: Study, tmp_path: Path) -> None:
    paths = [tmp_path / "x" / "probe", tmp_path / "y" / "probe"]
    for path in paths:
        study.table.where(task="rte", depth=1).write(path / "layers.parquet")
    assert [read.name for read in read_studies(paths)] == ["x/probe", "y/probe"]
    with pytest.raises(ResultsError, match="named twice"):
        read_studies([paths[0], paths[0]])


def test_a_broken_file_is_named(study: Study, tmp_path: Path) -> None:
    LayerTable().write(tmp_path / "layers.parquet")
    (tmp_path / "undefined.json").write_text("{")
    with pytest.raises(ResultsError, match=r"undefined\.json cannot be read"):
        read_study(tmp_path, "a")
