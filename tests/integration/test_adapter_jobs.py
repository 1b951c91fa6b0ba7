"""Ways of tuning that need more than an adapter: routes, calibration rows, rounds, a GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file

from taskdepth import config
from taskdepth.activations.extraction import extract
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.store import ActivationStore
from taskdepth.data.tokenise import PromptFormat, Tokeniser
from taskdepth.errors import ModelError
from taskdepth.models import adapters, loading, routing
from taskdepth.pipelines import probe, train
from taskdepth.types import Split

pytestmark = pytest.mark.slow

TASKS = ["demo_both_members", "demo_capital_city"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


def settings(command: str, place: Path, *overrides: str) -> Any:
    shared = [f"paths.root='{place}'", "tasks=[" + ",".join(TASKS) + "]"]
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        return config.resolve(compose(command, [*shared, *overrides]))


def tune(place: Path, name: str, model: Path, *overrides: str) -> train.TrainResult:
    common = [f"name={name}", f"model.path='{model}'", "trainer.max_steps=4", "callbacks=none"]
    common += ["logger=none", "trainer.batch_size_examples=8", "trainer.val_examples_per_task=4"]
    common += ["trainer.accelerator=cpu", "optimizer.lr=0.02", "data.max_length_tokens=64"]
    return train.run(settings("train", place, *common, *overrides))


def read_states(place: Path, experimental: Path, tasks: list[str]) -> dict[str, torch.Tensor]:
    """Each task's pooled states of its test rows, as the extract stage keeps them."""
    asked = [f"models.experimental='{experimental}'", "models.controls=null", "name=states"]
    asked += ["extraction.max_examples={train: 8, validation: 4, test: 4}", "stages=[extract]"]
    asked += ["extraction.accelerator=cpu", "tasks=[" + ",".join(tasks) + "]", "overwrite=true"]
    asked.append("logger=none")
    configured = settings("probe", place, *asked, "data.max_length_tokens=64")
    probe.run(configured)
    store = ActivationStore(Path(configured.paths.activations))
    found = {}
    for manifest in Path(configured.paths.activations).rglob("manifest.json"):
        about = json.loads(manifest.read_text())["about"]
        if about["split"] == "test":
            states = store.read(manifest.parent.name).states
            found[about["task"]] = states[Pooling.LAST_TOKEN]
    return found


def test_a_routed_model_is_tuned_and_read_by_task(place: Path, tiny_folder: Path) -> None:
    result = tune(place, "poly", tiny_folder, "adapter=poly", "adapter.blocks=[2]")
    assert result.metrics["adapted_blocks"] == [2]
    adapter = result.run_dir / "adapter"
    assert sorted(json.loads((adapter / "tasks.json").read_text())) == TASKS
    found = read_states(place, result.run_dir, TASKS)
    assert sorted(found) == TASKS

    configured = settings("probe", place, "models.pretrained=x", "stages=[extract]")
    source = config.instantiate(configured.data.source)
    lm = loading.load(tiny_folder)
    tokeniser = Tokeniser(lm.tokenizer, PromptFormat(), lm.window_tokens, 64)
    with adapters.loaded(lm.lm, adapter) as wearing:
        for task, other in (TASKS, TASKS[::-1]):
            rows = list(source.examples(task, Split.TEST))[:4]
            prompts = [tokeniser.prompt(row).input_ids for row in rows]
            by_route = []
            for name in (task, other):
                with routing.routed(wearing, name):
                    pooled = extract(wearing, prompts, poolings=[Pooling.LAST_TOKEN])
                by_route.append(pooled[Pooling.LAST_TOKEN])
            torch.testing.assert_close(found[task], by_route[0])
            assert torch.equal(by_route[0][:3], by_route[1][:3]), "below the adapter"
            assert not torch.allclose(found[task][3:], by_route[1][3:], rtol=1e-6, atol=1e-6)
    with pytest.raises(ModelError, match="no route for task demo_size"):
        read_states(place, result.run_dir, ["demo_size"])


def test_models_read_together_or_in_two_goes_leave_the_same_bytes(
    place: Path, tiny_folder: Path
) -> None:
    both = tune(place, "lora", tiny_folder, "adapter=lora", "adapter.blocks=[2,3]").run_dir
    controls = tune(place, "c-lora", tiny_folder, "adapter=lora", "role=control").run_dir

    def stored(folder: str, *goes: list[str]) -> dict[str, bytes]:
        for models in goes:
            asked = [*models, "name=stored", "stages=[extract]", "overwrite=true", "logger=none"]
            asked += ["extraction.max_examples={train: 8, validation: 4, test: 4}"]
            asked += ["extraction.accelerator=cpu", f"paths.activations='{place / folder}'"]
            probe.run(settings("probe", place, *asked, "data.max_length_tokens=64"))
        files = (path for path in (place / folder).rglob("*") if path.is_file())
        return {str(path.relative_to(place / folder)): path.read_bytes() for path in files}

    pretrained = [f"models.pretrained='{tiny_folder}'", "models.controls=null"]
    every = [f"models.pretrained='{tiny_folder}'", f"models.experimental='{both}'"]
    every.append(f"models.controls='{controls}'")
    together = stored("together", every)
    assert together == stored("in-two-goes", pretrained, every)
    # two tasks: three splits for two models, one for the control model; a shard and a manifest each
    assert len(together) == 2 * (3 * 2 + 1) * 2


@pytest.mark.parametrize("method", ["pissa", "eva"])
def test_control_models_start_from_weights_or_rows(
    method: str, place: Path, tiny_folder: Path
) -> None:
    options = ["adapter.peft.r=2", "adapter.calibration_rows=16"]
    result = tune(place, f"c-{method}", tiny_folder, "role=control", f"adapter={method}", *options)
    assert sorted(result.metrics["controls"]) == TASKS
    for task in TASKS:
        folder = result.run_dir / "controls" / task / "adapter"
        assert json.loads((folder / "adapter_config.json").read_text())["init_lora_weights"] is True


def test_half_tuning_saves_the_whole_model(place: Path, tiny_folder: Path) -> None:
    result = tune(place, "half", tiny_folder, "adapter=hft", "adapter.round_steps=2")
    before = load_file(tiny_folder / "model.safetensors")
    after = load_file(result.run_dir / "model" / "model.safetensors")
    assert before.keys() == after.keys()
    assert result.metrics["trainable_parameters"] == sum(p.numel() for p in before.values())
    unmoved = [name for name in before if torch.equal(before[name], after[name])]
    assert unmoved, "what is frozen in both rounds"
    assert len(unmoved) < len(before) / 2


def test_qlora_is_refused_before_anything_loads(
    place: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="QLoRA needs a CUDA GPU"):
        tune(place, "qlora", tiny_folder, "adapter=qlora")
    assert not (place / "outputs" / "train" / "qlora").exists()
