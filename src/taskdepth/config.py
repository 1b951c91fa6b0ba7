"""Config schemas: typos, wrong types and impossible combinations fail before anything loads.

Every YAML under `conf/` is merged into one of the two root dataclasses here, `TrainConfig` or
`ProbeConfig`. Swap points (sources, architectures, PEFT configs) stay open dicts that carry
`_target_`. This module does not import torch, so that `--help` answers at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, cast

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from taskdepth import launching
from taskdepth.credentials import exposed
from taskdepth.errors import ConfigError, nearest
from taskdepth.help import groups
from taskdepth.trust import check_targets, strange_targets

STAGES = ("extract", "probe", "compare", "select", "report")
OUTPUTS = ("normal", "quiet", "json")
POOLINGS = ("last_token", "mean", "first_target")
DTYPES = ("float32", "bfloat16", "float16")
LOSS_BALANCES = ("token", "example", "task", "self_paced", "coba")
ON_BAD_STEP = ["stop", "skip"]
RATES = ("proportional", "temperature", "uniform", "weights")
SHARDINGS = ("none", "full", "offload")
PROBE_TARGETS = ("task", "cluster", "label", "option", "first_token")
PROBE_SOLVERS = ("optimum", "adamw")
MEASURES = (
    "linear_cka",
    "debiased_cka",
    "rbf_cka",
    "mean_squared_cca",
    "svcca",
    "pwcca",
    "procrustes",
    "procrustes_cosine",
    "rsa",
    "rsa_cosine",
    "rsa_euclidean",
    "mutual_knn",
    "mutual_knn_cosine",
    "ridge_predictivity",
    "subspace_overlap",
)
GEOMETRY = (
    "dimensions_for_variance",
    "participation_ratio",
    "anisotropy",
    "top_dimensions_share",
)
DEPTH_MAPS = ("none", "mean", "tasks")
PROJECTIONS = ("pca", "tsne")
POLICIES = (
    *("region", "top_gain", "probe_slope", "similarity_drop", "manual", "all"),
    *("uniform", "random", "first_k", "last_k", "inverse"),
    *("gradient_norm", "adjacent_cka", "weight_snr"),
)
POLICIES_OF_STUDY = ("region", "top_gain", "probe_slope", "similarity_drop", "inverse")
PLACEMENT_SCORES = ("loss", "exact_match", "rank_accuracy")
PROBE_SCORES = ("macro_f1", "auroc", "calibration_error")

NEED_PATH = {
    "folder": "folder of JSONL, Parquet or CSV files",
    "alpaca": "JSON file, or folder of such files",
    "natural_instructions": "clone of allenai/natural-instructions",
}

NEED_TSNE = "pip install 'taskdepth[tsne]', or projection=pca"

# what a run is called, where it lands and how it is shown does not change what it computes
NOT_FINGERPRINTED = (
    *("name", "paths", "overwrite", "devices", "output", "logger", "hydra", "stages", "report"),
)


@dataclass
class ModelConfig:
    """A model on disk or hub (`path`), or a random one of a given `architecture`.

    `quantization: 4bit` is what QLoRA does to the weights that do not learn. `trust_remote_code` lets a
    model's own code run, and says whose: it must equal `path`.
    """

    name: str = MISSING  # in the names of runs and in tables
    path: str | None = None
    revision: str | None = None  # branch, tag or commit on the hub
    trust_remote_code: str | None = None
    dtype: str = "float32"  # of the weights: float32, bfloat16 or float16
    quantization: str | None = None
    architecture: Any = None
    tokenizer_size: int = 2048  # tokens of the tokenizer of a random model


@dataclass
class AdapterConfig:
    """`peft` carries `_target_` of a PEFT config; blocks count from 0, null adapts every block.

    `calibration_rows`: training rows that an adapter reads which starts from activations (EVA, CorDA).
    `method: hft` tunes half of the model's own weights, another half every `round_steps` optimizer steps
    (null: every epoch).
    """

    name: str = MISSING  # in the names of runs
    peft: Any = None
    method: str | None = None
    round_steps: int | None = None
    calibration_rows: int = 64
    blocks: list[int] | None = None
    blocks_from: str | None = None


@dataclass
class DataConfig:
    """Where rows come from and how a row becomes tokens.

    `prompt_template` holds `{prompt}` once; `target_prefix` joins the target to it.
    `max_length_tokens` cuts long *prompts* (counted in metrics.json); null means that a row longer
    than the model's window is an error. `on_error`: `raise` stops at a row that cannot be used, `skip`
    leaves it out and lists it in metrics.json. `shots` solved training rows go before every prompt.
    """

    name: str = MISSING  # in the names of runs
    source: Any = MISSING  # what makes the rows: a class of taskdepth.tasks, or your own
    path: str | None = None  # folder or file that the source reads, if it reads one
    prompt_template: str = "{prompt}\nAnswer:"
    target_prefix: str = " "
    max_length_tokens: int | None = None
    on_error: str = "raise"
    shots: int = 0


@dataclass
class MixtureConfig:
    """Caps first, then `rates`: see `taskdepth.data.mixture`. `unseen` tasks (names, `cluster:<name>`) are not
    trained on, but validated on and probed with."""

    rates: str = "proportional"
    temperature: float = 1.0  # of rates=temperature: 1 is proportional, large is uniform
    weights: Any = None  # task → weight; open, or Hydra would not take new names
    unseen: list[str] = field(default_factory=list)
    epoch_examples: int | None = None  # rows of an epoch; null: as many as there are after the caps
    cap_per_task_examples: int | None = None  # at most so many training rows of a task
    cap_per_cluster_examples: int | None = None  # at most so many of a cluster's tasks together


@dataclass
class OptimizerConfig:
    _target_: str = MISSING  # any torch optimizer
    lr: float = MISSING  # the highest learning rate of the schedule
    weight_decay: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)  # further arguments of the optimizer


@dataclass
class SchedulerConfig:
    """Linear warm-up over `warmup_fraction` of all steps, then `shape`: `cosine` or `constant`."""

    shape: str = "cosine"
    warmup_fraction: float = 0.0


@dataclass
class TrainerConfig:
    """`loss_balance`: every target `token` counts the same, or every `example` (long targets then do
    not drown short ones), or every `task`; `self_paced` and `coba` weigh the tasks anew every
    `balance_every_n_steps`. `batch_tokens` is a budget that takes the place of `batch_size_examples`.
    `packing` puts a batch's examples side by side without padding, where the model's attention allows it.
    `prefix_cache` keeps what enters the lowest block that learns: `auto` where rows are seen more than once and
    `prefix_cache_bytes` of memory are enough, `true` in a file if they are not. A step whose loss or gradient
    is no number never reaches the weights: `on_bad_step` says whether to `stop` or to `skip` it. With
    `sharding` `full` weights, gradients and optimizer states lie in parts on all devices; with `offload` they
    rest in the memory of the CPU. `options` are passed to `lightning.Trainer` as they are."""

    max_epochs: int | None = 3
    max_steps: int = -1
    batch_size_examples: int = 16
    batch_tokens: int | None = None
    packing: bool = True
    accumulate_batches: int = 1
    gradient_clip_norm: float = 1.0
    loss_balance: str = "token"
    balance_every_n_steps: int = 10
    gradient_checkpointing: bool = False
    prefix_cache: Any = "auto"
    prefix_cache_bytes: int = 2**32
    compile: bool = False
    accelerator: str = "auto"
    sharding: str = "none"
    precision: str = "32-true"
    on_bad_step: str = "stop"
    val_every_n_epochs: int = 1
    val_examples_per_task: int | None = 64  # validation rows of each task; null: all
    log_every_n_steps: int = 10
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class ControlConfig:
    """Of `role=control`. `match: data` tunes a task's control model on the task's share of the mixture, `size`
    on as many rows as the mixture has. `at_once` control models share a step, where the adapter allows it.
    One ends early when its validation loss got no better `patience` times."""

    match: str = "data"
    at_once: int = 1
    patience: int | None = None


@dataclass
class PlacementConfig:
    """`experiment=placement_study`: every one of `policies` is trained in the place of a single model, each
    with every seed, at the parameters of `adapter` in all blocks. `study`, a run folder of probe.py, holds
    what some policies look at; `k` is how many blocks those choose that do not know it themselves (null: as
    many as `region` has, or a third). `reference` is what gains and time are told against; `score` decides.
    Scores are those of up to `examples_per_task` test rows; `ranking` scores wrong answers too."""

    policies: list[str] = field(default_factory=list)
    study: str | None = None
    k: int | None = None
    region: str = "transition"
    n_regions: int = 3  # of how many regions `region` is one
    blocks: list[int] | None = None  # of the policy manual
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])  # each policy's, the same for all
    reference: str = "all"
    score: str = "loss"
    split: str = "test"  # whose rows are scored
    examples_per_task: int | None = 50
    ranking: bool = True
    calibration_rows: int = 128  # training rows for policies that look at the model at work


@dataclass
class EvaluationConfig:
    """What is scored after tuning: up to `max_examples_per_task` rows of `split`, closed sets by ranking, free
    text by generation of up to `max_new_tokens`."""

    enabled: bool = False
    split: str = "test"
    max_examples_per_task: int | None = 100
    max_new_tokens: int = 64
    batch_tokens: int = 4096


@dataclass
class LoggerConfig:
    """`mode`: `auto` goes online when the user is logged in to W&B, else offline. Runs of one `group` are a
    study: by default those of a sweep, or of one command. `id` names the run, or of a command with several
    what their names begin with, and goes on with it."""

    enabled: bool = True
    mode: str = "auto"
    project: str = "taskdepth"
    entity: str | None = None  # W&B user or team; null: yours
    group: str | None = None
    tags: list[str] = field(default_factory=list)  # of the W&B run
    notes: str | None = None  # of the W&B run
    id: str | None = None


@dataclass
class PathsConfig:
    root: str = MISSING  # TASKDEPTH_ROOT, else the checkout, else the working folder
    run_dir: str = MISSING  # the folder of this run
    activations: str = MISSING  # the store of states, which all studies share


@dataclass
class TrainConfig:
    """`train.py`. `role` decides what is trained: `pretrained` learns all tokens of plain text,
    `experimental` all chosen tasks together, `control` one adapter per task."""

    name: str = MISSING
    role: str = "experimental"
    seed: int = 0  # of initial weights, the order of rows and dropout
    tasks: Any = "all"
    overwrite: bool = False
    devices: int = 1
    output: str = "normal"
    ckpt_path: str | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    data: DataConfig = field(default_factory=DataConfig)
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    callbacks: dict[str, Any] = field(default_factory=dict)  # of Lightning, by any name
    control: ControlConfig = field(default_factory=ControlConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    placement: PlacementConfig = field(default_factory=PlacementConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)


@dataclass
class ModelsConfig:
    """Folders or hub ids. `experimental` is a run folder of train.py, `controls` one of
    `experiment=control_models`; either may be null, and so may be `pretrained` when an adapter names it.
    `ceiling` is another run of `experiment=control_models`, with another seed. `trust_remote_code` names the
    model, by hub id or folder, whose own code may run."""

    pretrained: str | None = None
    experimental: str | None = None
    controls: str | None = None
    ceiling: str | None = None
    revision: str | None = None  # of `pretrained` on the hub
    trust_remote_code: str | None = (
        None  # lets a model's own code run: the hub id or folder whose it is
    )


@dataclass
class LimitsConfig:
    """Rows per task; null takes all."""

    train: int | None = None  # training rows
    validation: int | None = None  # validation rows
    test: int | None = None  # test rows


@dataclass
class ExtractionConfig:
    """`final_norm: pre` takes the last depth before the final norm; `post` after it (the paper's). `plan`
    only says what is still to be extracted and what it will cost. `keep: none` writes no states to disk:
    they go through memory task by task, and probes across tasks see up to `sample_rows` rows of each task
    and split."""

    poolings: list[str] = field(default_factory=lambda: ["last_token", "mean"])
    max_examples: LimitsConfig = field(default_factory=LimitsConfig)
    batch_tokens: int | None = None
    dtype: str = "float32"
    store_dtype: str = "float32"
    padding_side: str = "right"
    final_norm: str = "pre"
    keep: str = "disk"
    sample_rows: int = 256
    accelerator: str = "auto"
    plan: bool = False


@dataclass
class MinibatchConfig:
    """Of `solver=adamw`: `batch_rows` of all ranks make a step at the rate `lr`; training ends when no probe
    got better on the validation rows for `patience` epochs."""

    batch_rows: int = 1024
    lr: float = 3e-3
    max_epochs: int = 50  # at most so many passes over the rows
    patience: int = 3


@dataclass
class ProbingConfig:
    """`solver`: `optimum` finds the exact one with a problem's states in memory, `adamw` comes near it with
    batches of rows from the disk. `l2s` is the path from which one is chosen, per depth: by the
    validation rows, or by `folds` folds of training and validation rows. `random_init` probes a model of
    the same shape with fresh weights, `transfer` tests label probes on other tasks with the same label
    set, `mdl` adds code lengths."""

    targets: list[str] = field(default_factory=lambda: ["task", "cluster", "label"])
    poolings: list[str] = field(default_factory=lambda: ["last_token"])
    solver: str = "optimum"
    minibatch: MinibatchConfig = field(default_factory=MinibatchConfig)
    l2s: list[float] = field(default_factory=lambda: [1.0, 10.0, 100.0, 1000.0])
    folds: int | None = None
    interval: str = "wilson"
    scores: list[str] = field(default_factory=lambda: list(PROBE_SCORES))
    first_token_classes: int = 20
    bag_of_tokens: bool = True
    random_init: bool = False
    transfer: bool = False
    mdl: bool = False


@dataclass
class SimilarityConfig:
    """`measures` are those of docs/similarity.md. Every one has the floor of shuffled rows; the kinds of
    CKA also an interval from `n_bootstrap` samples and the influence of the worst row. `standardise` adds
    a variant of each, its dimensions scaled to the same variance. `geometry` describes each model by
    itself, `depth_maps` keeps CKA of all depths with all others: `mean` over tasks, or of the `tasks` too.
    `foils` is for how many other tasks' control models read a task's prompts. `match_n` compares every
    task at the row count of the smallest."""

    measures: list[str] = field(default_factory=lambda: ["debiased_cka", "linear_cka"])
    standardise: bool = False
    geometry: list[str] = field(default_factory=lambda: list(GEOMETRY))
    depth_maps: str = "mean"
    foils: int = 0
    poolings: list[str] = field(default_factory=lambda: ["last_token", "mean"])
    splits: list[str] = field(default_factory=lambda: ["test"])
    n_bootstrap: int = 200
    n_shuffles: int = 20
    match_n: bool = False


@dataclass
class WeightsConfig:
    """What each LoRA adapter does to the weights of every block. `intruders` counts how many of the
    `intruder_k` leading directions of a tuned weight have no cosine of `intruder_threshold` with any of
    the pre-trained one's; that takes a singular value decomposition of every adapted weight."""

    enabled: bool = True
    intruders: bool = False
    intruder_k: int = 10
    intruder_threshold: float = 0.5


@dataclass
class SelectionConfig:
    policy: str = "region"
    n_regions: int = 3
    region: str = "transition"
    k: int | None = None  # how many blocks, for the policies that need to be told
    blocks: list[int] | None = None  # of the policy manual


@dataclass
class PaperFiguresConfig:
    """Figures 2 to 7 of arXiv:2410.20008 beside the report. `projection`: `pca` or `tsne` (figure 4).
    `layers` of figures 4 and 7; null: four from the first to the last. Every task takes part with as many
    rows: those of the smallest, at most `rows_per_task` (null: no limit), `points_per_task` of them drawn."""

    enabled: bool = False
    projection: str = "pca"
    layers: list[int] | None = None
    rows_per_task: int | None = 128
    points_per_task: int = 24
    n_permutations: int = 9999


@dataclass
class ReportConfig:
    title: str = "At what depth the tasks live"
    paper_figures: PaperFiguresConfig = field(default_factory=PaperFiguresConfig)


@dataclass
class ProbeConfig:
    """`probe.py`."""

    name: str = MISSING
    seed: int = 0  # of shuffled labels, bootstrap samples and foils
    tasks: Any = "all"
    stages: list[str] = field(default_factory=lambda: list(STAGES))
    overwrite: bool = False
    devices: int = 1
    output: str = "normal"
    models: ModelsConfig = field(default_factory=ModelsConfig)
    data: DataConfig = field(default_factory=DataConfig)
    extraction: ExtractionConfig = field(default_factory=ExtractionConfig)
    probe: ProbingConfig = field(default_factory=ProbingConfig)
    similarity: SimilarityConfig = field(default_factory=SimilarityConfig)
    weights: WeightsConfig = field(default_factory=WeightsConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)


Config = TypeVar("Config", TrainConfig, ProbeConfig)


def conf_dir() -> Path:
    """`conf/`: inside the installed package, or at the top of the checkout."""
    package = Path(__file__).parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def root_dir() -> Path:
    """Where `outputs/` lands: the checkout whatever the working folder is, else the working folder."""
    checkout = Path(__file__).parents[2]
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def fingerprint(content: Mapping[str, Any]) -> str:
    """A short name for a config: the same settings give the same name in every process.

    >>> fingerprint({"a": 1, "name": "x"}) == fingerprint({"name": "y", "a": 1})
    True
    """
    kept = {key: value for key, value in content.items() if key not in NOT_FINGERPRINTED}
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _fingerprint_of_root(_root_: DictConfig) -> str:
    # unresolved on purpose: the run folder's name is part of paths, which are part of the config
    content = OmegaConf.to_container(_root_, resolve=False)
    return fingerprint(cast("dict[str, Any]", content))


def register() -> None:
    """Make the schemas and the `${repo:}` and `${fingerprint:}` resolvers known to Hydra."""
    store = ConfigStore.instance()
    store.store(name="base_train", node=TrainConfig)
    store.store(name="base_probe", node=ProbeConfig)
    OmegaConf.register_new_resolver("repo", lambda: str(root_dir()), replace=True)
    OmegaConf.register_new_resolver("fingerprint", _fingerprint_of_root, replace=True)
    OmegaConf.register_new_resolver("groups", lambda name: groups(conf_dir(), name), replace=True)


def resolve(cfg: DictConfig) -> Any:
    """`cfg` as nested dataclasses with plain lists, after every cross-field check.

    Raises:
        ConfigError: all problems at once.
    """
    try:
        config = OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        raise ConfigError(" ".join(str(error).split())) from error
    settings = cast("TrainConfig | ProbeConfig", config)
    found = [*exposed(asdict(settings)), *problems(settings)]
    if found:
        raise ConfigError("; ".join(found))
    return config


def is_sharded(config: TrainConfig | ProbeConfig) -> bool:
    """Whether the model is to lie in parts on all devices, even if it is one."""
    return isinstance(config, TrainConfig) and config.trainer.sharding != "none"


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
    for name in ("k", "examples_per_task", "calibration_rows", "n_regions"):
        value = getattr(placement, name)
        if value is not None and value < 1:
            found.append(f"placement.{name} must be at least 1, not {value}")
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


def _not_one_of(name: str, value: str, known: list[str]) -> str:
    return f"{name}={value} is unknown: {nearest(value, known)}"


def instantiate(node: Any, *args: Any, **kwargs: Any) -> Any:
    """Build what `node._target_` names; nested nodes too, with plain lists and dicts.

    The one place that calls Hydra's `instantiate`. An error of our own family passes unchanged,
    another is told in one line.

    Raises:
        ConfigError: the target may not be named in a config (`taskdepth.trust`), cannot be found, or does
            not take these settings.
    """
    import hydra.errors
    import hydra.utils

    from taskdepth.errors import TaskdepthError

    check_targets(node)
    try:
        return hydra.utils.instantiate(node, *args, _convert_="all", **kwargs)
    except hydra.errors.InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, TaskdepthError):
            raise cause from None
        target = node.get("_target_") if hasattr(node, "get") else node
        reason = cause if cause is not None else error
        raise ConfigError(f"cannot build {target}: {' '.join(str(reason).split())}") from error
