from __future__ import annotations

import json
from pathlib import Path

import pytest

from taskdepth.errors import ModelError
from taskdepth.models.reference import refer, refer_controls
from taskdepth.types import Role


def touch(path: Path, content: object = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content or {}))
    return path


def touch_adapter(folder: Path, base: str) -> None:
    touch(folder / "adapter_config.json", {"base_model_name_or_path": base})
    (folder / "adapter_model.safetensors").touch()


def test_a_run_a_folder_and_a_hub_id(tmp_path: Path) -> None:
    touch(tmp_path / "full" / "model" / "config.json")
    touch(tmp_path / "plain" / "config.json")
    touch_adapter(tmp_path / "lora" / "adapter", "/b")
    touch_adapter(tmp_path / "peft", "org/name")
    table = [
        ("full", "full", str(tmp_path / "full" / "model"), None),
        ("plain", "plain", str(tmp_path / "plain"), None),
        ("lora", "lora", "/b", tmp_path / "lora" / "adapter"),
        ("peft", "peft", "org/name", tmp_path / "peft"),
    ]
    for folder, name, path, adapter in table:
        ref = refer(str(tmp_path / folder), Role.EXPERIMENTAL)
        assert (ref.name, ref.path, ref.adapter) == (name, path, adapter)
    hub = refer("org/model", Role.PRETRAINED)
    assert (hub.name, hub.path, hub.adapter) == ("model", "org/model", None)


def test_unfinished_and_empty_folders_are_named(tmp_path: Path) -> None:
    touch(tmp_path / "run" / "config.yaml")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="has not finished"):
        refer(str(tmp_path / "run"), Role.EXPERIMENTAL)
    with pytest.raises(ModelError, match="holds no model"):
        refer(str(tmp_path / "empty"), Role.PRETRAINED)


def test_controls(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no controls\.json"):
        refer_controls(str(tmp_path), ["rte"])
    touch_adapter(tmp_path / "controls" / "rte" / "adapter", "b")
    index = {
        "rte": {"adapter": "controls/rte/adapter"},
        "gone": {"adapter": "controls/gone/adapter"},
        "long": {"adapter": "x" * 300},  # no file can be called so
        "evil": {"adapter": "../elsewhere"},
    }
    touch(tmp_path / "controls.json", {"controls": index})
    ref = refer_controls(str(tmp_path), ["rte"])["rte"]
    assert (ref.role, ref.task, ref.path) == (Role.CONTROL, "rte", "b")
    with pytest.raises(ModelError, match=r"no control model for 'rtee'.*did you mean rte"):
        refer_controls(str(tmp_path), ["rte", "rtee"])
    for task in ("gone", "long"):
        with pytest.raises(ModelError, match="no adapter at"):
            refer_controls(str(tmp_path), [task])
    with pytest.raises(ModelError, match="points outside"):
        refer_controls(str(tmp_path), ["evil"])
