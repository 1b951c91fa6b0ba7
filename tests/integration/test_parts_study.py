"""A study of a model that lies in parts: nothing of what it leaves differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from peft import LoraConfig
from torch import nn

from taskdepth import config
from taskdepth.models import adapters, loading
from taskdepth.pipelines import probe
from taskdepth.results.table import LayerTable

pytestmark = pytest.mark.slow

TASKS = ("demo_arithmetic", "demo_synonym")


@pytest.fixture
def controls(tiny_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "controls"
    listed = {}
    for number, task in enumerate(TASKS):
        torch.manual_seed(number)
        lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
        tuned = adapters.attach(loading.load(tiny_folder).lm, lora, [2, 3])
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                nn.init.normal_(parameter)
        adapters.save(tuned, folder / task)
        listed[task] = {"adapter": task}
    (folder / "controls.json").write_text(json.dumps({"controls": listed}))
    return folder


def test_states_and_rows_are_those_of_the_whole_model(
    tiny_folder: Path, controls: Path, tmp_path: Path
) -> None:
    parts = ["extraction.device_map=auto", "extraction.max_memory_gib.cpu=0.0001"]
    found = {}
    for name, how in {"whole": [], "parts": parts}.items():
        asked = [f"tasks=[{','.join(TASKS)}]", f"name={name}", f"paths.root='{tmp_path}'", *how]
        asked += [f"paths.activations='{tmp_path}/{name}'", "logger=none", "output=quiet"]
        asked += [f"models.pretrained='{tiny_folder}'", f"models.controls='{controls}'"]
        asked += ["stages=[extract,compare]", "similarity.n_bootstrap=2"]
        asked += ["extraction.max_examples={train: 2, validation: 2, test: 6}"]
        with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
            run = probe.run(config.resolve(compose("probe", asked)))
        table = LayerTable.read(run.run_dir / "layers.parquet")
        states = {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*.safetensors")
        }
        found[name] = states, [repr(row) for row in table]
    assert found["parts"] == found["whole"]
    states, rows = found["whole"]
    assert len(states) == 2 * (
        3 + 1
    )  # splits of the pre-trained model, test rows of a control model
    assert any("kind='weights'" in row for row in rows)
