from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from taskdepth import config
from taskdepth.models.dispatched import rests
from taskdepth.pipelines.bases import Bases


def bases(model: Path, device_map: str) -> Bases:
    asked = [f"models.pretrained='{model}'", "stages=[extract]", "logger=none"]
    asked += [f"extraction.device_map={device_map}"]
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        return Bases(config.resolve(compose("probe", asked)))


def test_a_model_in_parts_leaves_nothing_when_it_is_released(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    found = bases(tiny_folder, "{model: disk, lm_head: disk}")
    lm: Any = found.load(tiny_folder).model.lm
    assert rests(lm)
    assert "4 of 4 blocks rest in memory or on disk" in capsys.readouterr().err
    assert found.load(tiny_folder).model.lm is lm
    assert len(list(room.iterdir())) == 1
    held = weakref.ref(lm)
    del lm
    other = tmp_path / "other"
    shutil.copytree(tiny_folder, other)
    found.load(other)  # only one is resident
    assert held() is None
    assert len(list(room.iterdir())) == 1
    found.release()
    assert not list(room.iterdir())


def test_a_model_of_one_part_says_nothing(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = bases(tiny_folder, "null").load(tiny_folder)
    assert not rests(loaded.model.lm)
    assert capsys.readouterr().err == ""
