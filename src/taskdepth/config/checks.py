"""What settings contradict each other or are impossible: told before anything loads, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from taskdepth import launching
from taskdepth.config.schemas import (
    DEPTH_MAPS,
    DTYPES,
    GEOMETRY,
    LOSS_BALANCES,
    MEASURES,
    MOST_REGIONS,
    ON_BAD_STEP,
    OUTPUTS,
    PLACEMENT_SCORES,
    POLICIES,
    POLICIES_OF_STUDY,
    POOLINGS,
    PROBE_SCORES,
    PROBE_SOLVERS,
    PROBE_TARGETS,
    PROJECTIONS,
    RATES,
    REGION_NAMES,
    SHARDINGS,
    STAGES,
    ControlConfig,
    DataConfig,
    MixtureConfig,
    PlacementConfig,
    ProbeConfig,
    SelectionConfig,
    TrainConfig,
    TrainerConfig,
)
from taskdepth.errors import nearest
from taskdepth.trust import strange_targets

NEED_PATH = {
    "folder": "folder of JSONL, Parquet or CSV files",
    "alpaca": "JSON file, or folder of such files",
    "natural_instructions": "clone of allenai/natural-instructions",
}

NEED_TSNE = "pip install 'taskdepth[tsne]', or projection=pca"


def problems(config: TrainConfig | ProbeConfig) -> list[str]:
    """What is impossible or contradictory in `config`, one phrase each; empty when it is sound."""
    found = _data_problems(config.data) + _tasks_problems(config.tasks) + _trust_problems(config)
    if config.output not in OUTPUTS:
        found.append(_not_one_of("output", config.output, list(OUTPUTS)))
    if config.logger.mode not in ("auto", "online", "offline", "disabled"):
        found.append(
            _not_one_of(
                "logger.mode", config.logger.mode, ["auto", "online", "offline", "disabled"]
            )
        )
    if config.devices < 1:
        found.append(f"devices must be at least 1, not {config.devices}")
    elif launching.n_processes(config.devices) > 1:
        found += _many_devices_problems(config)
    if isinstance(config, TrainConfig):
        return found + _train_problems(config)
    return found + _probe_problems(config)


def _sharding_problems(config: TrainConfig) -> list[str]:
    sharding = config.trainer.sharding
    if sharding not in SHARDINGS:
        return [_not_one_of("trainer.sharding", sharding, list(SHARDINGS))]
    if sharding == "none":
        return []
    found = []
    if config.role == "control" or config.placement.policies:
        found.append("trainer.sharding is for one model at a time: trainer.sharding=none")
    if config.evaluation.enabled:
        found.append("evaluation needs the whole model on one device: trainer.sharding=none")
    if config.model.quantization is not None or config.adapter.method is not None:
        found.append("quantised models and adapter=hft cannot be sharded: trainer.sharding=none")
    if "AdaLora" in str((config.adapter.peft or {}).get("_target_")):
        found.append("adapter=adalora looks at whole matrices: trainer.sharding=none")
    return found


def _many_devices_problems(config: TrainConfig | ProbeConfig) -> list[str]:
    """What one process does, and several do not (yet)."""
    if isinstance(config, ProbeConfig):
        if config.extraction.keep == "none":
            return ["extraction.keep=none holds states in the memory of one process: devices=1"]
        return []
    found = []
    if config.placement.policies:
        found.append("a placement study trains its placements in one process: devices=1")
    elif config.role != "control":
        if config.adapter.method == "hft":
            found.append(
                "adapter=hft changes what learns between steps, which ranks cannot: devices=1"
            )
        if config.trainer.prefix_cache is True:
            found.append("trainer.prefix_cache=true: every rank would keep all rows: devices=1")
    return found


def _trust_problems(config: TrainConfig | ProbeConfig) -> list[str]:
    """What would let a config from elsewhere write or run more than a run may."""
    found = list(strange_targets(asdict(config)))
    if Path(config.name).is_absolute() or ".." in Path(config.name).parts:
        found.append(f"name={config.name} leaves the folder of outputs: use a plain name")
    if isinstance(config, TrainConfig):
        run_dir = Path(config.paths.run_dir).resolve()
        found += [
            f"callbacks.{name}.dirpath={node['dirpath']} lies outside the run folder"
            for name, node in config.callbacks.items()
            if isinstance(node, dict)
            and node.get("dirpath") is not None
            and not Path(node["dirpath"]).resolve().is_relative_to(run_dir)
        ]
        section, trusted, path = "model", config.model.trust_remote_code, config.model.path
    else:
        section, trusted, path = "models", config.models.trust_remote_code, None
    if trusted is not None and (
        trusted.lower() in ("true", "false", "") or path not in (None, trusted)
    ):
        found.append(
            f"{section}.trust_remote_code={trusted} does not name the model: set it to its hub id or folder "
            "after you have read its code, or leave it null"
        )
    return found


def _data_problems(data: DataConfig) -> list[str]:
    found = []
    if data.prompt_template.count("{prompt}") != 1:
        found.append(
            f"data.prompt_template must hold {{prompt}} once, not {data.prompt_template!r}"
        )
    if data.max_length_tokens is not None and data.max_length_tokens < 8:
        found.append(f"data.max_length_tokens={data.max_length_tokens} leaves no room for a prompt")
    if data.on_error not in ("raise", "skip"):
        found.append(_not_one_of("data.on_error", data.on_error, ["raise", "skip"]))
    if data.shots < 0:
        found.append(f"data.shots must not be negative, it is {data.shots}")
    if data.name in NEED_PATH and not data.path:
        found.append(f"data={data.name} needs data.path=<{NEED_PATH[data.name]}>")
    return found


def _tasks_problems(tasks: Any) -> list[str]:
    if isinstance(tasks, str) or (
        isinstance(tasks, list) and all(isinstance(t, str) for t in tasks)
    ):
        return []
    return [f"tasks must be all, [a,b] or cluster:<name>, not {tasks!r}"]


def _train_problems(config: TrainConfig) -> list[str]:
    found = []
    roles = ["pretrained", "experimental", "control"]
    if config.role not in roles:
        found.append(_not_one_of("role", config.role, roles))
    if config.model.path is None and config.model.architecture is None:
        found.append("model.path (hub id or folder) or model.architecture must be set")
    if config.model.dtype not in DTYPES:
        found.append(_not_one_of("model.dtype", config.model.dtype, list(DTYPES)))
    if config.scheduler.shape not in ("cosine", "constant"):
        found.append(_not_one_of("scheduler.shape", config.scheduler.shape, ["cosine", "constant"]))
    if config.trainer.on_bad_step not in ON_BAD_STEP:
        found.append(_not_one_of("trainer.on_bad_step", config.trainer.on_bad_step, ON_BAD_STEP))
    if config.trainer.loss_balance not in LOSS_BALANCES:
        found.append(
            _not_one_of("trainer.loss_balance", config.trainer.loss_balance, list(LOSS_BALANCES))
        )
    if not 0 <= config.scheduler.warmup_fraction <= 1:
        found.append("scheduler.warmup_fraction must lie between 0 and 1")
    found += _adapter_problems(config)
    trainer = config.trainer
    if trainer.max_steps < 0 and trainer.max_epochs is None:
        found.append("trainer.max_steps or trainer.max_epochs must be set")
    for name in (
        "batch_size_examples",
        "batch_tokens",
        "accumulate_batches",
        "val_every_n_epochs",
        "balance_every_n_steps",
    ):
        value = getattr(trainer, name)
        if value is not None and value < 1:
            found.append(f"trainer.{name} must be at least 1, not {value}")
    found += _prefix_problems(trainer) + _sharding_problems(config)
    found += _control_problems(config.control)
    found += _mixture_problems(config.mixture) + _evaluation_problems(config)
    return found + (_placement_problems(config) if config.placement.policies else [])


def _placement_problems(config: TrainConfig) -> list[str]:
    placement, adapter = config.placement, config.adapter
    found = [
        _not_one_of("placement.policies", policy, list(POLICIES))
        for policy in placement.policies
        if policy not in POLICIES
    ]
    for name, values in (("policies", placement.policies), ("seeds", placement.seeds)):
        if len(set(values)) != len(values) or not values:
            found.append(f"placement.{name} must be different ones, at least one: {values}")
    if placement.reference not in placement.policies:
        found.append(f"placement.reference={placement.reference} must be one of placement.policies")
    if placement.score not in PLACEMENT_SCORES:
        found.append(_not_one_of("placement.score", placement.score, list(PLACEMENT_SCORES)))
    if placement.score == "rank_accuracy" and not placement.ranking:
        found.append("placement.score=rank_accuracy needs placement.ranking=true")
    if placement.split not in ("train", "validation", "test"):
        found.append(
            _not_one_of("placement.split", placement.split, ["train", "validation", "test"])
        )
    for name in ("k", "examples_per_task", "calibration_rows"):
        value = getattr(placement, name)
        if value is not None and value < 1:
            found.append(f"placement.{name} must be at least 1, not {value}")
    found += _region_problems("placement", placement, placement.policies)
    for policy in placement.policies:
        if policy in POLICIES_OF_STUDY and placement.study is None:
            found.append(
                f"placement policy {policy} needs placement.study=<run folder of probe.py>"
            )
    if ("manual" in placement.policies) != (placement.blocks is not None):
        found.append("placement.blocks=[…] and the policy manual need each other")
    if "LoraConfig" not in str((adapter.peft or {}).get("_target_")):
        found.append("a placement study is about LoRA in different blocks: adapter=lora")
    if adapter.blocks is not None or adapter.blocks_from is not None:
        found.append("a placement study chooses blocks itself: leave adapter.blocks out")
    if config.role != "experimental" or config.evaluation.enabled or config.ckpt_path is not None:
        found.append(
            "a placement study trains experimental models and scores them itself: "
            "role=experimental evaluation=none ckpt_path=null"
        )
    return found


def _control_problems(control: ControlConfig) -> list[str]:
    found = []
    if control.match not in ("data", "size"):
        found.append(_not_one_of("control.match", control.match, ["data", "size"]))
    if control.at_once < 1:
        found.append(f"control.at_once must be at least 1, not {control.at_once}")
    if control.patience is not None and control.patience < 1:
        found.append(f"control.patience must be at least 1, or null, not {control.patience}")
    return found


def _prefix_problems(trainer: TrainerConfig) -> list[str]:
    found = []
    if trainer.prefix_cache not in ("auto", True, False):
        found.append(
            f"trainer.prefix_cache must be auto, true or false, not {trainer.prefix_cache}"
        )
    if trainer.prefix_cache is True and trainer.compile:
        found.append(
            "trainer.prefix_cache=true skips blocks that trainer.compile=true has compiled"
        )
    if trainer.prefix_cache_bytes < 0:
        found.append("trainer.prefix_cache_bytes must not be negative")
    return found


def _mixture_problems(mixture: MixtureConfig) -> list[str]:
    found = []
    if mixture.rates not in RATES:
        found.append(_not_one_of("mixture.rates", mixture.rates, list(RATES)))
    for name in ("cap_per_task_examples", "cap_per_cluster_examples", "epoch_examples"):
        value = getattr(mixture, name)
        if value is not None and value < 1:
            found.append(f"mixture.{name} must be at least 1, not {value}")
    if mixture.temperature <= 0:
        found.append(f"mixture.temperature must be above 0, not {mixture.temperature}")
    weights = mixture.weights or {}
    if not isinstance(weights, dict) or not all(
        isinstance(weight, (int, float)) and weight >= 0 for weight in weights.values()
    ):
        found.append(
            f"mixture.weights must be {{task: weight, …}} of numbers from 0, not {weights}"
        )
    if mixture.rates == "weights" and not weights:
        found.append("mixture.rates=weights needs mixture.weights={task: weight, …}")
    return found


def _evaluation_problems(config: TrainConfig) -> list[str]:
    evaluation = config.evaluation
    found = []
    if evaluation.split not in ("train", "validation", "test"):
        found.append(
            _not_one_of("evaluation.split", evaluation.split, ["train", "validation", "test"])
        )
    for name in ("max_examples_per_task", "max_new_tokens", "batch_tokens"):
        value = getattr(evaluation, name)
        if value is not None and value < 1:
            found.append(f"evaluation.{name} must be at least 1, not {value}")
    if evaluation.enabled and config.role != "experimental":
        found.append(f"evaluation is for role=experimental, not {config.role}: evaluation=none")
    return found


def _adapter_problems(config: TrainConfig) -> list[str]:
    adapter = config.adapter
    found = []
    if adapter.blocks is not None and adapter.blocks_from is not None:
        found.append("adapter.blocks and adapter.blocks_from contradict each other: set one")
    if adapter.peft is None and (adapter.blocks is not None or adapter.blocks_from is not None):
        found.append("adapter.blocks and adapter.blocks_from need an adapter: adapter=lora")
    if config.role == "control" and adapter.peft is None:
        found.append("control models are adapters on one resident model: adapter=lora")
    if config.role == "control" and config.mixture.unseen:
        found.append("mixture.unseen is not for control models: leave those tasks out of tasks")
    if config.role == "control" and config.ckpt_path is not None:
        found.append("control models resume task by task by themselves: leave ckpt_path out")
    if config.role == "pretrained" and (adapter.peft is not None or adapter.method is not None):
        found.append("role=pretrained trains all weights: adapter=none")
    if adapter.calibration_rows < 1:
        found.append("adapter.calibration_rows must be at least 1")
    return found + _method_problems(config)


def _method_problems(config: TrainConfig) -> list[str]:
    adapter, model = config.adapter, config.model
    found = []
    if adapter.method not in (None, "hft"):
        found.append(_not_one_of("adapter.method", str(adapter.method), ["hft"]))
    if adapter.method is not None and adapter.peft is not None:
        found.append("adapter.method tunes the model's own weights: adapter.peft=null")
    if adapter.round_steps is not None and (adapter.method != "hft" or adapter.round_steps < 1):
        found.append("adapter.round_steps must be at least 1, and needs adapter=hft")
    if model.quantization not in (None, "4bit"):
        found.append(_not_one_of("model.quantization", str(model.quantization), ["4bit"]))
    elif model.quantization is not None:
        if adapter.peft is None:
            found.append(
                "model.quantization needs an adapter, quantised weights do not learn: adapter=qlora"
            )
        if model.path is None:
            found.append("model.quantization needs model.path: a random model is not worth it")
    return found


def _keep_problems(config: ProbeConfig) -> list[str]:
    extraction = config.extraction
    if extraction.sample_rows < 1:
        return [f"extraction.sample_rows must be positive, it is {extraction.sample_rows}"]
    if extraction.keep != "none":
        return []
    found = []
    reading = [stage for stage in config.stages if stage in ("probe", "compare")]
    if reading and "extract" not in config.stages:
        found.append(f"extraction.keep=none keeps no states: stages={reading} need extract, too")
    if config.probe.transfer:
        found.append(
            "probe.transfer needs the states of several tasks at once: extraction.keep=disk"
        )
    if config.report.paper_figures.enabled:
        found.append("report=paper_figures reads states of all tasks: extraction.keep=disk")
    if extraction.store_dtype != "float32":
        found.append("extraction.keep=none stores nothing: leave extraction.store_dtype at float32")
    return found


def _probe_problems(config: ProbeConfig) -> list[str]:
    found = []
    models, paper = config.models, config.report.paper_figures
    if not config.stages:
        found.append("stages is empty: choose from " + ", ".join(STAGES))
    if models.pretrained is None and models.experimental is None:
        found.append(
            "models.pretrained=<folder or hub id> or models.experimental=<run folder> must be set"
        )
    if "compare" in config.stages and models.controls is None:
        found.append(
            "the compare stage needs models.controls=<run folder of experiment=control_models>"
        )
    lists: list[tuple[str, list[str], tuple[str, ...]]] = [
        ("stages", config.stages, STAGES),
        ("selection.policy", [config.selection.policy], POLICIES),
        ("extraction.poolings", config.extraction.poolings, POOLINGS),
        ("probe.poolings", config.probe.poolings, tuple(config.extraction.poolings)),
        ("similarity.poolings", config.similarity.poolings, tuple(config.extraction.poolings)),
        ("probe.targets", config.probe.targets, PROBE_TARGETS),
        ("probe.scores", config.probe.scores, PROBE_SCORES),
        ("probe.solver", [config.probe.solver], PROBE_SOLVERS),
        ("probe.interval", [config.probe.interval], ("wilson", "bootstrap")),
        ("similarity.measures", config.similarity.measures, MEASURES),
        ("similarity.geometry", config.similarity.geometry, GEOMETRY),
        ("similarity.depth_maps", [config.similarity.depth_maps], DEPTH_MAPS),
        ("similarity.splits", config.similarity.splits, ("train", "validation", "test")),
        ("extraction.dtype", [config.extraction.dtype], DTYPES),
        ("extraction.store_dtype", [config.extraction.store_dtype], DTYPES),
        ("extraction.padding_side", [config.extraction.padding_side], ("left", "right")),
        ("extraction.final_norm", [config.extraction.final_norm], ("pre", "post")),
        ("extraction.keep", [config.extraction.keep], ("disk", "none")),
        ("report.paper_figures.projection", [paper.projection], PROJECTIONS),
    ]
    for name, values, known in lists:
        found += [_not_one_of(name, value, list(known)) for value in values if value not in known]
    found += _similarity_problems(config) + _keep_problems(config)
    found += _region_problems("selection", config.selection, [config.selection.policy])
    weights = config.weights
    if weights.intruder_k < 1 or not 0 < weights.intruder_threshold <= 1:
        found.append(
            "weights.intruder_k must be positive, and weights.intruder_threshold in (0, 1]"
        )
    if not config.probe.l2s or min(config.probe.l2s) <= 0:
        found.append("probe.l2s must be positive numbers")
    if config.probe.folds is not None and config.probe.folds < 2:
        found.append(f"probe.folds must be at least 2, or null, not {config.probe.folds}")
    if config.probe.first_token_classes < 2:
        found.append(
            f"probe.first_token_classes must be at least 2, not {config.probe.first_token_classes}"
        )
    if config.probe.transfer and "label" not in config.probe.targets:
        found.append("probe.transfer tests label probes: put label into probe.targets")
    if config.probe.solver == "adamw":
        found += [
            f"probe.{name} needs a problem's states in memory: probe.solver=optimum"
            for name in ("folds", "transfer", "mdl")
            if getattr(config.probe, name)
        ]
    found += [
        f"probe.minibatch.{name} must be above 0, not {value}"
        for name, value in vars(config.probe.minibatch).items()
        if value <= 0
    ]
    if config.extraction.batch_tokens is not None and config.extraction.batch_tokens < 1:
        found.append("extraction.batch_tokens must be at least 1")
    return found + _paper_problems(config)


def _paper_problems(config: ProbeConfig) -> list[str]:
    paper = config.report.paper_figures
    if not paper.enabled:
        return []
    found = [
        f"report.paper_figures.{name} must be at least {least}, not {value}"
        for name, value, least in (
            ("rows_per_task", paper.rows_per_task, 4),
            ("points_per_task", paper.points_per_task, 1),
            ("n_permutations", paper.n_permutations, 99),
        )
        if value is not None and value < least
    ]
    if paper.layers is not None and not paper.layers:
        found.append("report.paper_figures.layers is empty: name layers, or null for four of them")
    if not config.similarity.poolings:
        found.append("report=paper_figures needs similarity.poolings, its first is drawn")
    if paper.projection == "tsne" and find_spec("sklearn") is None:
        found.append("report.paper_figures.projection=tsne needs scikit-learn: " + NEED_TSNE)
    return found


def _similarity_problems(config: ProbeConfig) -> list[str]:
    models, settings = config.models, config.similarity
    found = []
    searched = "select" in config.stages and config.selection.policy != "manual"
    if searched and "debiased_cka" not in settings.measures:
        found.append("the select stage reads debiased_cka: put it into similarity.measures")
    if models.ceiling is not None and models.controls is None:
        found.append("models.ceiling is compared with models.controls: set both")
    if models.ceiling is not None and models.ceiling == models.controls:
        found.append("models.ceiling must be another run than models.controls, with another seed")
    for name in ("foils", "n_bootstrap", "n_shuffles"):
        if getattr(settings, name) < 0:
            found.append(f"similarity.{name} must not be negative: {getattr(settings, name)}")
    if settings.foils and models.controls is None:
        found.append("similarity.foils are control models: set models.controls")
    return found


def _region_problems(
    group: str, settings: SelectionConfig | PlacementConfig, policies: Sequence[str]
) -> list[str]:
    """With a number to be chosen, any name that a region could have will do."""
    n, region = settings.n_regions, settings.region
    if n is not None and n < 2:
        return [f"{group}.n_regions must be at least 2, or null: as many as the curves show"]
    names = [f"region_{k}" for k in range(1, (n or MOST_REGIONS) + 1)]
    if n is None or n == len(REGION_NAMES):
        names = [*REGION_NAMES, *(names if n is None else [])]
    if region in names or not {"region", "inverse"} & {*policies}:
        return []
    return [_not_one_of(f"{group}.region", region, names)]


def _not_one_of(name: str, value: str, known: list[str]) -> str:
    return f"{name}={value} is unknown: {nearest(value, known)}"
