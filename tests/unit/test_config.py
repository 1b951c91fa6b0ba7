"""Every YAML is composed and instantiated, and every impossible combination is named."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Transformer
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from taskdepth import config
from taskdepth.errors import ConfigError
from taskdepth.similarity import MEASURES, Geometry
from taskdepth.tasks.sources import SOURCES

CONF = config.conf_dir()
SWEEPS = CONF / "wandb_sweep"  # read by `wandb sweep`, not by Hydra
GROUPS = {
    "train": "model adapter data mixture optimizer scheduler trainer callbacks evaluation logger paths "
    "hydra debug",
    "probe": "data extraction probe similarity weights selection report logger paths hydra debug",
}
# sources of rows on disk: made here only where the path leads to such rows
LOCAL = {("data", "folder"), ("data", "alpaca"), ("data", "natural_instructions")}
# what an option needs to stand: values that only a user can give
NEEDS = {
    ("model", "pretrained"): ["model.path=somewhere"],
    **{option: [f"data.path={Path(__file__).parent}"] for option in sorted(LOCAL)},
    ("mixture", "weights"): ["mixture.weights={demo_arithmetic: 1}"],
    ("selection", "manual"): ["selection.blocks=[0]"],
    ("experiment", "placement_study"): ["placement.study=somewhere"],
    ("experiment", "placement_small"): ["placement.study=somewhere", "model.path=somewhere"],
    ("adapter", "qlora"): ["model=pretrained", "model.path=somewhere"],
    # the run fills these in
    ("adapter", "adalora"): [f"adapter.peft.{n}" for n in ("total_step=9", "tinit=0", "tfinal=0")],
}
# options of shared groups that belong to one command
ONLY = {
    ("debug", "two_steps"): "train",
    ("debug", "few_rows"): "probe",
    ("paths", "train"): "train",
}
ONLY |= {("paths", "probe"): "probe"}
STUDY = ["experiment=placement_study", "placement.study=somewhere"]
ONLY |= {("hydra", command): command for command in ("train", "probe")}
PROBE_MODELS = ["models.pretrained=x", "models.controls=y"]


def composed(command: str, overrides: list[str]) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(command, [*(PROBE_MODELS if command == "probe" else []), *overrides])


def resolved(command: str, *overrides: str) -> Any:
    return config.resolve(composed(command, list(overrides)))


def options() -> list[tuple[str, str, str]]:
    found = []
    for path in sorted(CONF.rglob("*.yaml")):
        if path.parent == CONF:
            continue
        group, option = path.parent.name, path.stem
        if group == "experiment":
            text = path.read_text()
            found.append(
                ("probe" if "probe.py" in text.splitlines()[1] else "train", group, option)
            )
            continue
        for command, groups in GROUPS.items():
            if group in groups.split() and ONLY.get((group, option), command) == command:
                found.append((command, group, option))
    return found


def test_every_yaml_is_covered() -> None:
    files = {
        (p.parent.name, p.stem) for p in CONF.rglob("*.yaml") if p.parent not in (CONF, SWEEPS)
    }
    assert {(group, option) for _, group, option in options()} == files
    assert {p.stem for p in CONF.glob("*.yaml")} == set(GROUPS)
    assert len(files) >= 30


@pytest.mark.parametrize(("command", "group", "option"), options())
def test_option_composes_and_instantiates(command: str, group: str, option: str) -> None:
    cfg = composed(command, [f"{group}={option}", *NEEDS.get((group, option), [])])
    settings = config.resolve(cfg)
    swaps = [settings.data.source]
    if command == "train":
        swaps += [settings.model.architecture, settings.adapter.peft, *settings.callbacks.values()]
    for node in swaps:
        if node is None or (group, option) in LOCAL:
            continue
        assert "_target_" in node
        config.instantiate(node)
    if (group, option) in LOCAL:
        assert settings.data.source["path"] == settings.data.path


@pytest.mark.parametrize("path", sorted(SWEEPS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_setting_of_a_wandb_sweep_composes(path: Path) -> None:
    sweep = yaml.safe_load(path.read_text())
    command = Path(sweep["program"]).stem
    assert sweep["metric"]["name"] == "objective"
    assert sweep["metric"]["goal"] == {"train": "minimize", "probe": "maximize"}[command]
    assert sweep["command"][-1] == "${args_no_hyphens}", "key=value, as Hydra reads it"
    fixed = [word for word in sweep["command"] if "=" in word]
    ends = {
        key: about.get("values") or [about["min"], about["max"]]
        for key, about in sweep["parameters"].items()
    }
    for number in range(max(map(len, ends.values()))):
        chosen = [f"{key}={values[number % len(values)]}" for key, values in ends.items()]
        resolved(command, *fixed, *chosen)


@pytest.mark.parametrize("name", ["sweep_autopeft", "sweep_lora"])
def test_every_value_of_a_sweep_composes(name: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [f"experiment={name}"], return_hydra_config=True)
    assert str(cfg.hydra.mode) == "RunMode.MULTIRUN"
    parser = OverridesParser.create()
    lines = [f"{key}={space}" for key, space in cfg.hydra.sweeper.params.items()]
    choices = {
        override.key_or_group: list(override.sweep_iterator(transformer=Transformer.encode))
        for override in parser.parse_overrides(lines)
    }
    assert all(len(values) > 1 for values in choices.values())
    names = set()
    for number in range(max(map(len, choices.values()))):
        chosen = [f"{key}={values[number % len(values)]}" for key, values in choices.items()]
        names.add(resolved("train", f"experiment={name}", *chosen).name)
    assert len(names) == max(map(len, choices.values())), "every job has a folder of its own"


def test_every_data_option_reads_a_source_that_the_listing_knows() -> None:
    options = sorted(p.stem for p in (CONF / "data").glob("*.yaml"))
    assert {resolved("train", f"data={o}", "data.path=here").data.name for o in options} == set(
        SOURCES
    )


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_the_listing_knows_every_source_by_the_same_name(name: str) -> None:
    entry = SOURCES[name]
    data = resolved("train", f"data={name}", "data.path=here").data
    assert data.name == name
    assert data.source["_target_"] == entry.target
    if entry.path is not None:
        assert data.source[entry.path] == "here"
        assert data.source["on_error"] == data.on_error


def test_flan_rows_that_cannot_be_used_are_left_out_by_default() -> None:
    assert resolved("train", "data=flan_hub").data.on_error == "skip"
    assert resolved("train", "data=flan_hub", "data.on_error=raise").data.on_error == "raise"


@pytest.mark.parametrize("command", ["train", "probe"])
def test_defaults_resolve(command: str) -> None:
    settings = resolved(command)
    assert type(settings.tasks) is str
    assert not OmegaConf.is_config(settings.data.source)


@pytest.mark.parametrize(
    "override",
    [
        "optimizer.lr=fast",
        "trainer.max_steps=many",
        "trainer.batch_size_example=4",
        "model=tyni",
        "seed=1.5",
        "adapter.blocks=[a]",
    ],
)
def test_typos_and_wrong_types_fail_while_composing(override: str) -> None:
    with pytest.raises((HydraException, OmegaConfBaseException)):
        composed("train", [override])


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        ("train", ["role=teacher"], "role=teacher is unknown"),
        ("train", ["role=control"], "control models are adapters"),
        ("train", ["adapter.blocks=[1]"], "need an adapter"),
        ("train", ["adapter=lora", "adapter.blocks=[1]", "adapter.blocks_from=x"], "contradict"),
        ("train", ["role=pretrained", "adapter=lora"], "role=pretrained trains all weights"),
        ("train", ["role=pretrained", "adapter=hft"], "role=pretrained trains all weights"),
        ("train", ["role=control", "adapter=hft"], "control models are adapters"),
        ("train", ["adapter=hft", "adapter.blocks=[1]"], "need an adapter"),
        ("train", ["adapter=lora", "adapter.method=hft"], "tunes the model's own weights"),
        ("train", ["adapter.method=third"], "adapter.method=third is unknown"),
        ("train", ["adapter=lora", "adapter.round_steps=2"], "needs adapter=hft"),
        ("train", ["adapter=hft", "adapter.round_steps=0"], "round_steps must be at least 1"),
        ("train", ["adapter=eva", "adapter.calibration_rows=0"], "calibration_rows must be at"),
        ("train", ["adapter=qlora"], "model.quantization needs model.path"),
        ("train", ["model.quantization=4bit"], "model.quantization needs an adapter"),
        (
            "train",
            ["adapter=qlora", "model.quantization=2bit"],
            "model.quantization=2bit is unknown",
        ),
        ("train", ["model.architecture=null"], "model.path"),
        ("train", ["model.dtype=int8"], "model.dtype=int8 is unknown"),
        ("train", ["trainer.batch_size_examples=0"], "batch_size_examples must be at least 1"),
        ("train", ["devices=2", "adapter=hft"], "ranks cannot: devices=1"),
        ("train", ["devices=2", "trainer.prefix_cache=true"], "would keep all rows: devices=1"),
        ("train", ["devices=2", "placement.policies=[all]"], "in one process: devices=1"),
        ("probe", ["devices=2", "extraction.keep=none"], "memory of one process: devices=1"),
        ("train", ["trainer.max_epochs=null"], "max_steps or trainer.max_epochs"),
        ("train", ["tasks={a: b}"], "tasks must be"),
        ("train", ["data=folder"], "data.path"),
        ("train", ["data.prompt_template=hello"], "must hold {prompt} once"),
        ("train", ["data.max_length_tokens=2"], "leaves no room"),
        ("train", ["mixture.cap_per_task_examples=0"], "cap_per_task_examples must be at least 1"),
        ("train", ["scheduler.shape=square"], "scheduler.shape=square is unknown"),
        ("train", ["scheduler.warmup_fraction=2"], "between 0 and 1"),
        ("train", ["trainer.loss_balance=words"], "trainer.loss_balance=words is unknown"),
        ("train", ["trainer.prefix_cache=maybe"], "prefix_cache must be auto, true or false"),
        (
            "train",
            ["trainer.prefix_cache=true", "trainer.compile=true"],
            "trainer.compile=true has compiled",
        ),
        ("train", ["trainer.prefix_cache_bytes=-1"], "prefix_cache_bytes must not be negative"),
        ("train", ["control.match=sizes"], "control.match=sizes is unknown: did you mean size"),
        ("train", ["control.at_once=0"], "control.at_once must be at least 1"),
        ("train", ["control.patience=0"], "control.patience must be at least 1, or null"),
        ("train", ["logger.mode=loud"], "logger.mode=loud is unknown"),
        ("train", [*STUDY, "placement.policies=[all,frist_k]"], "did you mean first_k"),
        ("train", [*STUDY, "placement.policies=[all,all]"], "must be different ones"),
        ("train", [*STUDY, "placement.policies=[region,first_k]"], "reference=all must be one of"),
        ("train", [*STUDY, "placement.seeds=[]"], "at least one"),
        ("train", [*STUDY, "placement.study=null"], "top_gain needs placement.study="),
        ("train", [*STUDY, "placement.policies=[all,manual]"], "need each other"),
        ("train", [*STUDY, "placement.score=f1"], "placement.score=f1 is unknown"),
        (
            "train",
            [*STUDY, "placement.score=rank_accuracy", "placement.ranking=false"],
            "needs placement.ranking",
        ),
        ("train", [*STUDY, "placement.split=dev"], "placement.split=dev is unknown"),
        ("train", [*STUDY, "placement.k=0"], "placement.k must be at least 1"),
        ("train", [*STUDY, "placement.n_regions=1"], "placement.n_regions must be at least 2, or"),
        ("train", [*STUDY, "placement.n_regions=2"], "placement.region=transition is unknown"),
        ("train", [*STUDY, "adapter=ia3"], "about LoRA in different blocks"),
        ("train", [*STUDY, "adapter.blocks=[1]"], "leave adapter.blocks out"),
        ("train", [*STUDY, "role=control"], "trains experimental models"),
        ("probe", ["selection.policy=regoin"], "selection.policy=regoin is unknown"),
        ("probe", ["selection.n_regions=0"], "selection.n_regions must be at least 2, or null"),
        (
            "probe",
            ["selection.n_regions=4"],
            "selection.region=transition is unknown: known: region_1",
        ),
        ("probe", ["selection.region=transitoin"], "did you mean transition"),
        ("probe", ["selection.n_regions=null", "selection.region=region_6"], "mean region_5"),
        ("train", ["output=loud"], "output=loud is unknown"),
        ("probe", ["stages=[extrakt]"], "stages=extrakt is unknown: did you mean extract"),
        ("probe", ["stages=[]"], "stages is empty"),
        ("probe", ["models.controls=null"], "compare stage needs models.controls"),
        ("probe", ["models.pretrained=null"], "models.pretrained"),
        ("probe", ["probe.poolings=[max]"], "probe.poolings=max is unknown"),
        ("probe", ["extraction.poolings=[mean]"], "probe.poolings=last_token is unknown"),
        ("probe", ["probe.l2s=[0]"], "must be positive"),
        ("probe", ["probe.scores=[f1]"], "probe.scores=f1 is unknown"),
        ("probe", ["probe.interval=wald"], "probe.interval=wald is unknown"),
        ("probe", ["probe.solver=adam"], "probe.solver=adam is unknown"),
        ("probe", ["probe.solver=adamw", "probe.mdl=true"], "probe.mdl needs a problem's states"),
        ("probe", ["probe.solver=adamw", "probe.folds=2"], "probe.folds needs a problem's states"),
        ("probe", ["probe.minibatch.lr=0"], "probe.minibatch.lr must be above 0"),
        ("probe", ["probe.folds=1"], "probe.folds must be at least 2, or null, not 1"),
        ("probe", ["probe.first_token_classes=1"], "first_token_classes must be at least 2"),
        ("probe", ["probe.transfer=true", "probe.targets=[task]"], "transfer tests label probes"),
        ("probe", ["similarity.splits=[dev]"], "similarity.splits=dev is unknown"),
        ("probe", ["similarity.measures=[cka]"], "similarity.measures=cka is unknown"),
        ("probe", ["similarity.geometry=[curvature]"], "geometry=curvature is unknown"),
        ("probe", ["similarity.depth_maps=all"], "similarity.depth_maps=all is unknown"),
        ("probe", ["similarity.measures=[rsa]"], "the select stage reads debiased_cka"),
        ("probe", ["similarity.foils=-1"], "similarity.foils must not be negative"),
        ("probe", ["models.ceiling=y"], "must be another run than models.controls"),
        (
            "probe",
            ["stages=[probe]", "models.controls=null", "models.ceiling=z"],
            "models.ceiling is compared with models.controls",
        ),
        (
            "probe",
            ["stages=[probe]", "models.controls=null", "similarity.foils=1"],
            "similarity.foils are control models",
        ),
        ("probe", ["extraction.batch_tokens=0"], "batch_tokens must be at least 1"),
        ("probe", ["devices=2", "extraction.device_map=auto"], "one process all GPUs: devices=1"),
        ("probe", ["extraction.device_map=atuo"], "device_map=atuo is unknown: did you mean auto"),
        ("probe", ["extraction.device_map=[cpu]"], "must be auto or {part: device}"),
        ("probe", ["extraction.device_map={}"], "must be auto or {part: device}"),
        ("probe", ["extraction.device_map={lm_head: cuda}"], "cpu, disk or the number of a GPU"),
        ("probe", ["extraction.device_map={lm_head: -1}"], "cpu, disk or the number of a GPU"),
        (
            "probe",
            ["extraction.device_map={model: cpu, model.norm: disk}"],
            "names model.norm, a part of model: each part once",
        ),
        (
            "probe",
            ["extraction.device_map=auto", "extraction.accelerator=cpu"],
            "takes GPUs: leave extraction.accelerator at auto",
        ),
        (
            "probe",
            ["extraction.device_map={model: 0, lm_head: cpu}", "extraction.accelerator=cpu"],
            "takes GPUs: leave extraction.accelerator at auto",
        ),
        (
            "probe",
            ["extraction.device_map=auto", "selection.policy=gradient_norm"],
            "needs the whole model on one device",
        ),
        ("probe", ["extraction.max_memory_gib.gpu=40"], "is for extraction.device_map=auto"),
        (
            "probe",
            ["extraction.device_map=auto", "extraction.max_memory_gib.cpu=0"],
            "max_memory_gib.cpu must be above 0, not 0",
        ),
        ("probe", ["report.paper_figures.projection=umap"], "projection=umap is unknown"),
        (
            "probe",
            ["report=paper_figures", "report.paper_figures.rows_per_task=3"],
            "report.paper_figures.rows_per_task must be at least 4, not 3",
        ),
        (
            "probe",
            ["report=paper_figures", "report.paper_figures.layers=[]"],
            "report.paper_figures.layers is empty",
        ),
        (
            "probe",
            ["report=paper_figures", "similarity.poolings=[]"],
            "report=paper_figures needs similarity.poolings",
        ),
    ],
)
def test_impossible_combinations_are_named(
    command: str, overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(command, *overrides)
    assert message in str(caught.value)


def test_the_names_of_measures_and_geometry_are_those_that_there_are() -> None:
    assert set(config.MEASURES) == set(MEASURES)
    assert list(config.GEOMETRY) == [field.name for field in fields(Geometry)]
    thorough = resolved("probe", "similarity=thorough").similarity
    assert set(thorough.measures) == set(MEASURES)
    # a table of debiased_cka is read by others; without the select stage any measure will do
    resolved("probe", "similarity.measures=[rsa]", "stages=[extract,compare]")


def test_mhr_and_qlora_change_what_they_are_made_of() -> None:
    mhr, poly = resolved("train", "adapter=mhr").adapter, resolved("train", "adapter=poly").adapter
    assert mhr.name == "mhr"
    assert mhr.peft == {**poly.peft, "n_splits": 4}
    qlora = resolved("train", "adapter=qlora", "model=pretrained", "model.path=x")
    assert qlora.model.quantization == "4bit"
    assert qlora.adapter.peft == resolved("train", "adapter=lora").adapter.peft


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        resolved("train", "role=teacher", "model.dtype=int8", "devices=0")
    assert all(part in str(caught.value) for part in ("role", "dtype", "devices"))


def test_the_name_follows_what_is_computed_and_nothing_else() -> None:
    name = resolved("train").name
    assert name == resolved("train", "logger=none", "overwrite=true").name
    assert name != resolved("train", "seed=1").name
    assert resolved("train", "name=mine").paths.run_dir.endswith("outputs/train/mine")


def test_how_results_are_shown_does_not_change_what_is_computed() -> None:
    assert resolved("probe").name == resolved("probe", "report=paper_figures").name


def test_tsne_is_refused_at_once_where_sklearn_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["report=paper_figures", "report.paper_figures.projection=tsne"]
    assert resolved("probe", *asked).report.paper_figures.projection == "tsne"
    monkeypatch.setattr(config.probe_checks, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'taskdepth\[tsne\]'"):
        resolved("probe", *asked)


def test_instantiate_tells_errors_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"cannot build torch\.optim\.AdamW"):
        config.instantiate({"_target_": "torch.optim.AdamW", "nonsense": 1})
    from taskdepth.errors import DataError

    with pytest.raises(DataError, match="is not a folder"):
        config.instantiate({"_target_": "taskdepth.tasks.folder.FolderSource", "path": "/nowhere"})
