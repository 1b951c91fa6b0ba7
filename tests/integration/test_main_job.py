"""The main job on a tiny model and tiny tasks: tune, control models, extract, probe, compare, place."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file, save_file

import wandb_log
from taskdepth import config
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.store import ActivationStore
from taskdepth.errors import ResultsError, TaskdepthError
from taskdepth.pipelines import probe, train
from taskdepth.results.layer_log import layer_series
from taskdepth.results.table import LayerTable
from taskdepth.selection.placement import LayerSelection

WORDS = ["film", "dog", "cat", "house", "garden", "true", "good", "bad"]
TASKS = {
    "mood": ("nli", ["no", "yes"]),
    "tone": ("sentiment", ["bad", "good"]),
    "echo": ("misc", []),
}


def write_tasks(folder: Path) -> None:
    folder.mkdir()
    lines = ["task\tcluster\tkind\tlabels"]
    for number, (task, (cluster, labels)) in enumerate(TASKS.items()):
        kind = "classification" if labels else "generation"
        lines.append(f"{task}\t{cluster}\t{kind}\t{'|'.join(labels)}")
        rows = []
        for i in range(36 if labels else 72):
            word = WORDS[(i * (number + 1) + i // 8) % len(WORDS)]
            label = labels[i % 2] if labels else None
            row = {
                "example_id": f"{task}-{i}",
                "split": ["train", "train", "validation", "test"][i // 2 % 4],
                "prompt": f"{task}: the {word} {'runs' if i % 2 else 'sleeps'} {i}",
                "targets": [label or word],
                "label": label,
            }
            rows.append(json.dumps(row))
        (folder / f"{task}.jsonl").write_text("\n".join(rows) + "\n")
    (folder / "tasks.tsv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_tasks(folder / "tasks")
    return folder


def settings(command: str, place: Path, *overrides: str) -> Any:
    shared = [f"paths.root='{place}'", "data=folder", f"data.path='{place}/tasks'"]
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        return config.resolve(compose(command, [*shared, *overrides]))


def tune(place: Path, name: str, model: Path, *overrides: str) -> train.TrainResult:
    common = ["trainer.max_epochs=2", "trainer.batch_size_examples=8", "callbacks=none"]
    common += ["trainer.accelerator=cpu", f"name={name}", f"model.path='{model}'"]
    return train.run(settings("train", place, *common, *overrides))


@pytest.fixture(scope="module")
def study(place: Path, tiny_folder: Path) -> Path:
    """Experimental model (adapter in blocks 2 and 3), control models (blocks 1 to 3), and a probe run."""
    tune(place, "exp", tiny_folder, "adapter=lora", "adapter.blocks=[2,3]", "optimizer.lr=0.02")
    tune(
        place,
        "con",
        tiny_folder,
        "experiment=control_models",
        "adapter.blocks=[1,2,3]",
        "optimizer.lr=0.02",
    )
    models = [
        f"models.pretrained='{tiny_folder}'",
        f"models.experimental='{place}/outputs/train/exp'",
        f"models.controls='{place}/outputs/train/con'",
    ]
    probe.run(settings("probe", place, *models, "name=found", "similarity.n_bootstrap=20"))
    return place / "outputs" / "probe" / "found"


def test_a_training_run_leaves_what_others_can_use(
    study: Path, place: Path, tiny_folder: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = place / "outputs" / "train" / "exp"
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["adapted_blocks"] == [2, 3]
    assert math.isfinite(metrics["train_loss"])
    assert set(metrics["tasks"]) == set(TASKS)
    about = {"cluster", "unseen", "drawn", "trained", "rows_digest"}
    assert set(metrics["tasks"]["tone"]) == about | {"loss", "exact_match", "rank_accuracy"}
    assert "rank_accuracy" not in metrics["tasks"]["echo"]
    assert metrics["training_data"]["rows"] == 20 + 20 + 36
    assert (run / "config.yaml").read_text().startswith("name: exp")
    plain = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_folder), run / "adapter"
    )
    ids = AutoTokenizer.from_pretrained(tiny_folder)("tone: the dog", return_tensors="pt")
    assert plain(**ids).logits.isfinite().all()


def test_control_models_are_one_per_task_with_a_list(study: Path, place: Path) -> None:
    run = place / "outputs" / "train" / "con"
    listed = json.loads((run / "controls.json").read_text())["controls"]
    assert set(listed) == set(TASKS)
    weights = [load_file(run / listed[t]["adapter"] / "adapter_model.safetensors") for t in TASKS]
    name = next(name for name in weights[0] if "lora_B" in name)
    assert not torch.equal(weights[0][name], weights[1][name])


def test_adapters_are_weighed_as_peft_adds_them(
    study: Path, place: Path, tiny_folder: Path
) -> None:
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer
    from transformers import AutoModelForCausalLM

    weighed = LayerTable.read(study / "layers.parquet").where(kind="weights")
    assert {row.role for row in weighed} == {"experimental", "control"}
    folders = {"all": "exp/adapter", **{task: f"con/controls/{task}/adapter" for task in TASKS}}
    for task, folder in folders.items():
        lm = AutoModelForCausalLM.from_pretrained(tiny_folder)
        lm = PeftModel.from_pretrained(lm, place / "outputs" / "train" / folder)
        changes: dict[int, list[float]] = {}
        for name, module in lm.named_modules():
            if isinstance(module, LoraLayer):
                block = int(name.split("layers.")[1].split(".")[0])
                changes.setdefault(block, []).append(
                    float(module.get_delta_weight("default").norm())
                )
        rows = weighed.where(task=task, name="update_norm")
        assert {row.depth: row.value for row in rows} == {
            block + 1: pytest.approx(math.hypot(*norms), rel=1e-4)
            for block, norms in changes.items()
        }
        assert {row.n for row in rows} == {len(changes[2])}
    overlaps = weighed.where(name="update_overlap_outputs", reference="experimental")
    assert {(row.task, row.depth) for row in overlaps} == {(t, d) for t in TASKS for d in (3, 4)}
    assert all(0 <= row.value <= 1 for row in overlaps)


def states(place: Path, role: str, task: str) -> torch.Tensor:
    store = ActivationStore(place / "outputs" / "activations")
    for manifest in (place / "outputs" / "activations").rglob("manifest.json"):
        about = json.loads(manifest.read_text())["about"]
        if (about["role"], about["task"], about["split"]) == (role, task, "test"):
            return store.read(manifest.parent.name).states[Pooling.LAST_TOKEN]
    raise AssertionError(f"no states of {role}, {task}")


@pytest.mark.parametrize(("role", "first"), [("experimental", 2), ("control", 1)])
def test_below_the_first_adapted_block_states_are_the_pretrained_models(
    study: Path, place: Path, role: str, first: int
) -> None:
    for task in TASKS:
        before, tuned = states(place, "pretrained", task), states(place, role, task)
        assert torch.equal(before[: first + 1], tuned[: first + 1])
        assert not torch.allclose(before[first + 1], tuned[first + 1])


def test_the_table_holds_every_value(study: Path) -> None:
    table = LayerTable.read(study / "layers.parquet")
    depths = set(range(5))
    for role in ("pretrained", "experimental"):
        for task in TASKS:
            for name in (
                "linear_cka",
                "debiased_cka",
                "debiased_cka_shuffled",
                "debiased_cka@mean",
            ):
                rows = table.where(kind="similarity", role=role, task=task, name=name)
                assert {row.depth for row in rows} == depths
                assert {row.reference for row in rows} == {"control"}
        for target in ("task", "cluster"):
            for name in ("accuracy", "majority", "control_task_accuracy", "selectivity", "l2"):
                rows = table.where(kind="probe", role=role, target=target, name=name, task="all")
                assert {row.depth for row in rows} == depths
        labels = table.where(kind="probe", role=role, target="label", name="accuracy")
        assert {row.task for row in labels} == {"mood", "tone"}
    assert table.n_blocks == 4


def test_identical_states_are_alike_and_constant_ones_undefined(study: Path) -> None:
    table = LayerTable.read(study / "layers.parquet")
    for task in TASKS:
        curve = table.where(kind="similarity", role="pretrained", task=task, name="debiased_cka")
        values = [row.value for row in curve]
        assert math.isnan(values[0]), "every prompt ends in the same token"
        assert values[1] == pytest.approx(1.0), "block 0 has no adapter"
        assert values[-1] < 1.0 - 1e-6
    undefined = json.loads((study / "findings.json").read_text())["undefined"]["similarity"]
    assert any("depth 0" in what and "zero variance" in why for what, why in undefined)


def test_wandb_has_a_run_for_each_model_and_stage(study: Path) -> None:
    stages = {
        "probe": "probe",
        "compare": "similarity",
        "describe": "geometry",
        "weigh": "weights",
    }
    roles = {stage: ["pretrained", "experimental"] for stage in ("probe", "compare")}
    roles |= {"describe": ["pretrained", "experimental", "control"]}
    roles |= {"weigh": ["experimental", "control"]}
    measured = [f"{stage}-{role}" for stage in stages for role in roles[stage]]
    assert set(wandb_log.names(study)) == {"extract", "findings", *measured}
    table = LayerTable.read(study / "layers.parquet")
    for part in measured:
        stage, role = part.split("-")
        run = wandb_log.about(study, part)
        assert (run.job_type, run.run_group, run.display_name) == (stage, "found", f"found/{part}")
        assert set(run.tags) == {stage, role}
        assert wandb_log.config(study, part)["study"] == "found"
        logged = {h["layer"]: h for h in wandb_log.history(study, part) if "layer" in h}
        series = layer_series(table.where(kind=stages[stage], role=role))
        assert set(logged) == set(series) <= set(range(5))
        for layer, values in series.items():
            assert {key: logged[layer][key] for key in values} == values


def test_wandb_knows_what_was_made_from_what(study: Path, place: Path) -> None:
    def versions(folder: Path, part: str, *, used: bool) -> dict[str, str]:
        found = wandb_log.artifacts(folder, part, used=used)
        return {name: record.digest for name, record in found.items() if record.type != "run_table"}

    tuned = {
        name: versions(place / "outputs" / "train" / name, "", used=False)[name]
        for name in ("exp", "con")
    }
    read = versions(study, "extract", used=True)
    assert read.keys() == {"data-folder", "exp", "con", "tiny0"}
    assert {name: read[name] for name in tuned} == tuned, "the same version by its content"
    made = versions(study, "extract", used=False)
    assert made.keys() == {"activations-found"}
    for part in ("probe-pretrained", "compare-experimental", "findings"):
        assert versions(study, part, used=True) == made
    assert versions(study, "findings", used=False).keys() == {"findings-found", "selection-found"}
    findings = wandb_log.artifacts(study, "findings")["findings-found"]
    files = {"layers.parquet", "selection.yaml", "report.html"}
    assert files <= wandb_log.files_of(findings)


def test_the_report_and_its_figures_are_there(study: Path) -> None:
    findings = json.loads((study / "findings.json").read_text())
    assert len(findings["lines"]) == 5
    page = (study / "report.html").read_text()
    assert all(word in page for word in ("tone", "debiased", "selection.yaml"))
    assert {path.name for path in (study / "figures").glob("*.png")} >= {
        "similarity_pretrained_vs_control.png",
        "similarity_experimental_vs_control.png",
        "probe_accuracy_by_cluster.png",
        "regions.png",
    }


def test_placement_closes_the_loop(study: Path, place: Path, tiny_folder: Path) -> None:
    found = LayerSelection.read(study / "selection.yaml")
    chosen = place / "chosen.yaml"
    LayerSelection((1, 3), found.n_blocks, "manual", "for the test", found.model).write(chosen)
    for number, (path, blocks) in enumerate(
        [(study / "selection.yaml", found.blocks), (chosen, (1, 3))]
    ):
        result = tune(
            place, f"placed{number}", tiny_folder, "adapter=lora", f"adapter.blocks_from='{path}'"
        )
        assert result.metrics["adapted_blocks"] == list(blocks)
        weights = load_file(result.run_dir / "adapter" / "adapter_model.safetensors")
        assert {int(name.split("layers.")[1].split(".")[0]) for name in weights} == set(blocks)


def test_a_selection_for_another_depth_is_refused(place: Path, tiny_folder: Path) -> None:
    path = place / "deep.yaml"
    LayerSelection((20,), 30, "manual", "for the test", "big").write(path)
    with pytest.raises(ResultsError, match="made for a model of 30 blocks, this one has 4"):
        tune(place, "deep", tiny_folder, "adapter=lora", f"adapter.blocks_from='{path}'")


def test_stages_can_be_run_again_and_extraction_is_not_repeated(
    study: Path, place: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in (place / "outputs/activations").rglob("*.*")
    }
    models = [
        f"models.pretrained='{tiny_folder}'",
        f"models.experimental='{place}/outputs/train/exp'",
        f"models.controls='{place}/outputs/train/con'",
        "name=found",
        "similarity.n_bootstrap=20",
    ]
    probe.run(settings("probe", place, *models, "stages=[extract,select,report]"))
    assert "extracted already" in capsys.readouterr().err
    assert before == {p: p.stat().st_mtime_ns for p in (place / "outputs/activations").rglob("*.*")}
    with pytest.raises(ResultsError, match="already holds the results"):
        probe.run(settings("probe", place, *models))


def test_tasks_are_compared_at_equal_n_whatever_the_padding(
    study: Path, place: Path, tiny_folder: Path
) -> None:
    models = [
        f"models.pretrained='{tiny_folder}'",
        f"models.controls='{place}/outputs/train/con'",
        "name=matched",
        "logger=none",
        "stages=[extract,compare]",
        "similarity.match_n=true",
        "similarity.n_bootstrap=10",
        "extraction.padding_side=left",
        "extraction.batch_tokens=64",
        f"paths.activations='{place}/extracted_again'",  # the first store has these rows already
    ]
    result = probe.run(settings("probe", place, *models))
    matched = LayerTable.read(result.run_dir / "layers.parquet").where(name="debiased_cka")
    whole = LayerTable.read(study / "layers.parquet").where(name="debiased_cka", role="pretrained")
    assert {row.n for row in whole} == {8, 18}
    assert {row.n for row in matched} == {8}
    for task in ("mood", "tone"):
        expected = [row.value for row in whole.where(task=task)]
        got = [row.value for row in matched.where(task=task)]
        assert got == pytest.approx(expected, abs=1e-5, nan_ok=True)


class Killed(BaseException):
    """Like SIGKILL: nobody catches it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, target: Any, name: str, call: int) -> None:
    """The `call`-th call of `target.name` never returns."""
    original: Callable[..., Any] = getattr(target, name)
    calls = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(target, name, counted)


@pytest.mark.slow
def test_control_models_go_on_after_a_kill(
    study: Path, place: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from taskdepth.models import adapters

    same = ["experiment=control_models", "adapter.blocks=[1,2,3]", "optimizer.lr=0.02"]
    with monkeypatch.context() as patch:
        kill_at(patch, adapters, "save", 2)
        with pytest.raises(Killed):
            tune(place, "killed", tiny_folder, *same)
    folder = place / "outputs" / "train" / "killed"
    assert not (folder / "controls.json").exists()
    done = folder / "controls" / "mood" / "adapter" / "adapter_model.safetensors"
    stamp = done.stat().st_mtime_ns if done.exists() else None
    tune(place, "killed", tiny_folder, *same)
    assert stamp is None or done.stat().st_mtime_ns == stamp
    for task in TASKS:
        name = f"controls/{task}/adapter/adapter_model.safetensors"
        assert (folder / name).read_bytes() == (place / "outputs/train/con" / name).read_bytes(), (
            task
        )


SLOW_KILLS = [(6,), (11,), (14,), (5, 5, 5), (14, 7)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kills",
    [(3,), (9, 6), *(pytest.param(kills, marks=pytest.mark.slow) for kills in SLOW_KILLS)],
)
def test_tuning_resumes_from_its_last_checkpoint_to_the_same_weights(
    place: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, kills: tuple[int, ...]
) -> None:
    """76 rows, batches of 8, 2 epochs: 20 steps, a checkpoint every 2; each go is killed at a step."""
    from taskdepth.models.tuner import InstructionTuner

    options = ["adapter=lora", "callbacks=default", "callbacks.checkpoint.every_n_train_steps=2"]
    named = "-".join(map(str, kills))
    whole, cut = f"whole{named}", f"cut{named}"
    tune(place, whole, tiny_folder, *options)
    folder = place / "outputs" / "train"
    for step in kills:
        with monkeypatch.context() as patch:
            kill_at(patch, InstructionTuner, "training_step", step)
            with pytest.raises(Killed):
                tune(place, cut, tiny_folder, *options)
        assert (folder / cut / "checkpoints" / "last.ckpt").exists()
    assert tune(place, cut, tiny_folder, *options).metrics["steps"] == 20
    name = "adapter/adapter_model.safetensors"
    assert (folder / cut / name).read_bytes() == (folder / whole / name).read_bytes()


def test_states_that_are_no_numbers_are_left_out_for_all(
    study: Path, place: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One model's embedding of a word is broken: no probe reads these prompts, whichever model it is of."""
    from transformers import AutoTokenizer

    rows = [json.loads(line) for line in (place / "tasks/mood.jsonl").read_text().splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    tokens = {True: set(), False: set()}
    for row in rows:
        tokens["dog" in row["prompt"]] |= set(tokenizer(row["prompt"])["input_ids"])
    shutil.copytree(tiny_folder, tmp_path / "broken")
    weights = load_file(tiny_folder / "model.safetensors")
    weights["model.embed_tokens.weight"][list(tokens[True] - tokens[False])] = torch.nan
    save_file(weights, tmp_path / "broken" / "model.safetensors", metadata={"format": "pt"})
    models = [f"models.pretrained='{tiny_folder}'", f"models.experimental='{tmp_path}/broken'"]
    models += [f"models.controls='{place}/outputs/train/con'", "stages=[extract,probe,compare]"]
    config_of_it = settings("probe", place, *models, "name=broken", "logger=none", "tasks=[mood]")
    found = probe.run(config_of_it)
    said = " ".join(capsys.readouterr().err.split())
    tests = [row for row in rows if row["split"] == "test"]
    whole = [row for row in tests if "dog" not in row["prompt"]]
    n_out = len(tests) - len(whole)
    assert n_out == 2
    assert f"{n_out} of {len(tests)} prompts of mood (test) are left out" in said
    probed = LayerTable.read(found.run_dir / "layers.parquet").where(kind="probe", target="label")
    accuracy = [row for row in probed if row.name == "accuracy"]
    assert {row.role for row in accuracy} == {"pretrained", "experimental"}
    assert {row.n for row in accuracy} == {len(whole)}
    assert all(math.isfinite(row.value) for row in accuracy)


def test_full_tuning_from_scratch_and_pretraining(place: Path) -> None:
    common = ["trainer.max_steps=3", "trainer.batch_size_examples=4", "callbacks=none"]
    common += ["model.architecture.num_hidden_layers=2", "model.architecture.hidden_size=16"]
    common += ["model.tokenizer_size=300", "trainer.accelerator=cpu", "logger=none"]
    pre = train.run(settings("train", place, *common, "experiment=pretrain", "name=pre"))
    assert pre.objective is None
    assert (pre.run_dir / "model" / "model.safetensors").exists()
    assert (pre.run_dir / "model" / "tokenizer.json").exists()
    full = tune(place, "full", pre.run_dir, "tasks=cluster:nli", "logger=none")
    assert full.metrics["adapted_blocks"] is None
    assert set(full.metrics["tasks"]) == {"mood"}
    before = load_file(pre.run_dir / "model" / "model.safetensors")
    after = load_file(full.run_dir / "model" / "model.safetensors")
    assert not any(torch.equal(before[name], after[name]) for name in before if "proj" in name)


def test_models_are_probed_on_prompts_as_they_were_tuned_on(
    study: Path, place: Path, tiny_folder: Path
) -> None:
    models = [f"models.pretrained='{tiny_folder}'", f"models.controls='{place}/outputs/train/con'"]
    with pytest.raises(TaskdepthError, match=r"was tuned with data\.prompt_template="):
        probe.run(
            settings("probe", place, *models, "name=dressed", r"data.prompt_template='Q: {prompt}'")
        )


def test_a_named_checkpoint_is_used_and_a_missing_one_is_named(
    place: Path, tiny_folder: Path
) -> None:
    options = [
        "adapter=lora",
        "logger=none",
        "callbacks=default",
        "callbacks.checkpoint.every_n_train_steps=5",
    ]
    whole = tune(place, "kept", tiny_folder, *options)
    checkpoint = whole.run_dir / "checkpoints" / "last.ckpt"
    again = tune(place, "from_kept", tiny_folder, *options, f"ckpt_path='{checkpoint}'")
    name = "adapter/adapter_model.safetensors"
    assert (again.run_dir / name).read_bytes() == (whole.run_dir / name).read_bytes()
    with pytest.raises(TaskdepthError, match="there is no such checkpoint"):
        tune(place, "from_nothing", tiny_folder, *options, "ckpt_path=nothing.ckpt")


class Bomb:
    """Unpickled, it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self._mark,)


def test_a_checkpoint_that_would_run_code_is_refused(place: Path, tiny_folder: Path) -> None:
    torch.save({"state_dict": Bomb(place / "hacked")}, place / "evil.ckpt")
    options = ["adapter=lora", "logger=none", f"ckpt_path='{place / 'evil.ckpt'}'"]
    with pytest.raises(TaskdepthError, match=r"evil\.ckpt holds more than weights"):
        tune(place, "from_evil", tiny_folder, *options)
    assert not (place / "hacked").exists()


def test_an_adapter_is_no_model_to_start_from(study: Path, place: Path) -> None:
    with pytest.raises(TaskdepthError, match="is an adapter: name the model it belongs to"):
        tune(place, "again", place / "outputs" / "train" / "exp")


def test_regions_of_all_tasks_and_of_each_cluster_reach_the_findings(study: Path) -> None:
    found = json.loads((study / "findings.json").read_text())["regions"]
    assert found == json.loads((study / "regions.json").read_text())
    assert found["schema"] == 1
    assert set(found["clusters"]) == {cluster for cluster, _ in TASKS.values()}
    for regions in (found["all"], *found["clusters"].values()):
        assert regions["n_layers"] == 4
        assert regions["found"] == (not regions["reason"])
        assert len(regions["boundaries"]) == len(regions["intervals"]) == 2 * regions["found"]
    assert LayerSelection.read(study / "selection.yaml").regions is not None


@pytest.mark.parametrize("policy", ["adjacent_cka", "gradient_norm", "weight_snr", "random"])
def test_policies_that_need_no_table(
    study: Path, place: Path, tiny_folder: Path, policy: str
) -> None:
    options = [f"selection={policy}", "selection.k=2", "stages=[select]", f"name={policy}"]
    models = [f"models.pretrained='{tiny_folder}'", f"models.controls='{place}/outputs/train/con'"]
    result = probe.run(settings("probe", place, *models, *options))
    found = LayerSelection.read(result.run_dir / "selection.yaml")
    assert (found.policy, len(found.blocks)) == (policy, 2)
    assert json.loads((result.run_dir / "regions.json").read_text())["all"] is None


def test_the_inverse_of_a_choice(study: Path, place: Path, tiny_folder: Path) -> None:
    models = [
        f"models.pretrained='{tiny_folder}'",
        f"models.experimental='{place}/outputs/train/exp'",
        f"models.controls='{place}/outputs/train/con'",
        "similarity.n_bootstrap=20",
        "logger=none",
    ]
    options = ["selection.k=2", "stages=[compare,select]"]
    chosen = [
        LayerSelection.read(
            probe.run(
                settings(
                    "probe", place, *models, *options, f"selection={policy}", f"name=of-{policy}"
                )
            ).run_dir
            / "selection.yaml"
        ).blocks
        for policy in ("inverse", "region")  # the control models begin in block 1
    ]
    assert sorted(chosen[0] + chosen[1]) == [0, 1, 2, 3]
    with pytest.raises(TaskdepthError, match="looks at the pre-trained model"):
        probe.run(
            settings(
                "probe",
                place,
                "models.pretrained=null",
                *models[1:3],
                "selection=weight_snr",
                "stages=[select]",
                "name=none",
            )
        )
