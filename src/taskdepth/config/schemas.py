"""What can be set: a dataclass for each group of `conf/`, two root ones, and the words that settings take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from omegaconf import MISSING

STAGES = ("extract", "probe", "compare", "select", "report")

OUTPUTS = ("normal", "quiet", "json")

POOLINGS = ("last_token", "mean", "first_target")

DTYPES = ("float32", "bfloat16", "float16")

LOSS_BALANCES = ("token", "example", "task", "self_paced", "coba")

ON_BAD_STEP = ["stop", "skip"]

RATES = ("proportional", "temperature", "uniform", "weights")

DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")

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

POLICIES_AT_WORK = ("gradient_norm", "adjacent_cka", "weight_snr")  # that run the model

POLICIES = (
    *("region", "top_gain", "probe_slope", "similarity_drop", "manual", "all"),
    *("uniform", "random", "first_k", "last_k", "inverse"),
    *POLICIES_AT_WORK,
)

POLICIES_OF_STUDY = ("region", "top_gain", "probe_slope", "similarity_drop", "inverse")

REGION_NAMES = ("shared", "transition", "refinement")  # of three

MOST_REGIONS = 5  # that are looked for where their number is chosen

PLACEMENT_SCORES = ("loss", "exact_match", "rank_accuracy")

PROBE_SCORES = ("macro_f1", "auroc", "calibration_error")


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
    n_regions: int | None = 3  # of how many regions `region` is one; null: as many as there are
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
class MemoryConfig:
    """GiB that weights may fill where `device_map` is `auto`; null takes 0.9 of what is free."""

    gpu: float | None = None  # of each GPU
    cpu: float | None = None  # of the machine; what is left goes to the disk


@dataclass
class ExtractionConfig:
    """`final_norm: pre` takes the last depth before the final norm; `post` after it (the paper's). `plan`
    only says what is still to be extracted and what it will cost. `keep: none` writes no states to disk:
    they go through memory task by task, and probes across tasks see up to `sample_rows` rows of each task
    and split. `device_map` is for a model that does not fit one device: `auto` deals its blocks over all GPUs,
    the memory of the machine and the disk, {part: device} says it part by part."""

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
    device_map: Any = None
    max_memory_gib: MemoryConfig = field(default_factory=MemoryConfig)
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
    n_regions: int | None = 3  # null: as many as the curves show, up to 5
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


def is_sharded(config: TrainConfig | ProbeConfig) -> bool:
    """Whether the model is to lie in parts on all devices, even if it is one."""
    return isinstance(config, TrainConfig) and config.trainer.sharding != "none"
