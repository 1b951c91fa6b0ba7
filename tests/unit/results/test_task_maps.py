import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from taskdepth.errors import ResultsError
from taskdepth.results.task_maps import MEASURES, TaskMaps


def maps() -> TaskMaps:
    generator = torch.Generator().manual_seed(0)
    values = {name: torch.rand(2, 3, 4, 4, generator=generator) for name in MEASURES}
    values["centroid_cosine"][0, 0] = torch.nan
    tasks, clusters = ("rte", "cb", "sst2", "ä$"), ("nli", "nli", "sentiment", "misc")
    return TaskMaps(
        ("pretrained", "experimental"), (0, 1, 2), tasks, clusters, "last_token", 48, values
    )


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    written, path = maps(), tmp_path / "deep" / "task_maps.safetensors"
    written.write(path)
    read = TaskMaps.read(path)
    for name in ("roles", "depths", "tasks", "clusters", "pooling", "n"):
        assert getattr(read, name) == getattr(written, name)
    for name, values in written.values.items():
        torch.testing.assert_close(read.values[name], values, rtol=0, atol=0, equal_nan=True)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_one_map() -> None:
    found = maps()
    expected = found.values["covariance_cosine"][1, 2]
    assert torch.equal(found.at("covariance_cosine", "experimental", 2), expected)


@pytest.mark.parametrize(
    "asked", [("cka", "pretrained", 1), ("centroid_cosine", "control", 1), ("x", "pretrained", 3)]
)
def test_no_such_map(asked: tuple[str, str, int]) -> None:
    with pytest.raises(ResultsError, match="no task × task map"):
        maps().at(*asked)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="report=paper_figures first"):
        TaskMaps.read(tmp_path / "none.safetensors")
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(b"nonsense")
    with pytest.raises(ResultsError, match="not a readable safetensors file"):
        TaskMaps.read(torn)
    for metadata, version in (({"taskdepth.task_maps.schema": "0"}, "0"), (None, "none")):
        old = tmp_path / "old.safetensors"
        save_file({"x": torch.zeros(1)}, old, metadata=metadata)
        with pytest.raises(ResultsError, match=f"task-map schema {version}; this version reads 1"):
            TaskMaps.read(old)


def test_its_metadata_is_json(tmp_path: Path) -> None:
    """Readers in other languages find the names in the file's header."""
    path = tmp_path / "task_maps.safetensors"
    maps().write(path)
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert json.loads(header["__metadata__"]["tasks"])[3] == "ä$"
