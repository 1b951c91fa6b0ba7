"""What settings of `train.py` contradict each other or are impossible."""

from __future__ import annotations

from taskdepth import launching
from taskdepth.config.phrases import below_one, unknown, wrong_region
from taskdepth.config.schemas import (
    DTYPES,
    LOSS_BALANCES,
    ON_BAD_STEP,
    PLACEMENT_SCORES,
    POLICIES,
    POLICIES_OF_STUDY,
    RATES,
    SHARDINGS,
    ControlConfig,
    MixtureConfig,
    ModelConfig,
    PlacementConfig,
    SchedulerConfig,
    TrainConfig,
    TrainerConfig,
)

ROLES = ("pretrained", "experimental", "control")
SPLITS = ("train", "validation", "test")


def train_problems(config: TrainConfig) -> list[str]:
    """One phrase for each; what both commands have is left to `taskdepth.config.checks`."""
    return [
        *_devices_problems(config),
        *unknown("role", [config.role], ROLES),
        *_model_problems(config.model),
        *_scheduler_problems(config.scheduler),
        *_adapter_problems(config),
        *_role_problems(config),
        *_method_problems(config),
        *_trainer_problems(config.trainer),
        *_prefix_problems(config.trainer),
        *_sharding_problems(config),
        *_control_problems(config.control),
        *_mixture_problems(config.mixture),
        *_evaluation_problems(config),
        *(_placement_problems(config) if config.placement.policies else []),
    ]


def _devices_problems(config: TrainConfig) -> list[str]:
    """What one process does, and several do not (yet)."""
    if launching.n_processes(config.devices) <= 1:
        return []
    if config.placement.policies:
        return ["a placement study trains its placements in one process: devices=1"]
    if config.role == "control":
        return []
    found = []
    if config.adapter.method == "hft":
        found.append("adapter=hft changes what learns between steps, which ranks cannot: devices=1")
    if config.trainer.prefix_cache is True:
        found.append("trainer.prefix_cache=true: every rank would keep all rows: devices=1")
    return found


def _model_problems(model: ModelConfig) -> list[str]:
    found = []
    if model.path is None and model.architecture is None:
        found.append("model.path (hub id or folder) or model.architecture must be set")
    return found + unknown("model.dtype", [model.dtype], DTYPES)


def _scheduler_problems(scheduler: SchedulerConfig) -> list[str]:
    found = unknown("scheduler.shape", [scheduler.shape], ("cosine", "constant"))
    if not 0 <= scheduler.warmup_fraction <= 1:
        found.append("scheduler.warmup_fraction must lie between 0 and 1")
    return found


def _adapter_problems(config: TrainConfig) -> list[str]:
    adapter = config.adapter
    found = []
    if adapter.blocks is not None and adapter.blocks_from is not None:
        found.append("adapter.blocks and adapter.blocks_from contradict each other: set one")
    if adapter.peft is None and (adapter.blocks is not None or adapter.blocks_from is not None):
        found.append("adapter.blocks and adapter.blocks_from need an adapter: adapter=lora")
    if adapter.calibration_rows < 1:
        found.append("adapter.calibration_rows must be at least 1")
    return found


def _role_problems(config: TrainConfig) -> list[str]:
    """What models of one role do not take."""
    adapter = config.adapter
    found = []
    if config.role == "control" and adapter.peft is None:
        found.append("control models are adapters on one resident model: adapter=lora")
    if config.role == "control" and config.mixture.unseen:
        found.append("mixture.unseen is not for control models: leave those tasks out of tasks")
    if config.role == "control" and config.ckpt_path is not None:
        found.append("control models resume task by task by themselves: leave ckpt_path out")
    if config.role == "pretrained" and (adapter.peft is not None or adapter.method is not None):
        found.append("role=pretrained trains all weights: adapter=none")
    return found


def _method_problems(config: TrainConfig) -> list[str]:
    adapter, model = config.adapter, config.model
    found = []
    if adapter.method is not None:
        found += unknown("adapter.method", [adapter.method], ("hft",))
    if adapter.method is not None and adapter.peft is not None:
        found.append("adapter.method tunes the model's own weights: adapter.peft=null")
    if adapter.round_steps is not None and (adapter.method != "hft" or adapter.round_steps < 1):
        found.append("adapter.round_steps must be at least 1, and needs adapter=hft")
    if model.quantization is not None:
        found += unknown("model.quantization", [model.quantization], ("4bit",))
        if adapter.peft is None:
            found.append(
                "model.quantization needs an adapter, quantised weights do not learn: adapter=qlora"
            )
        if model.path is None:
            found.append("model.quantization needs model.path: a random model is not worth it")
    return found


def _trainer_problems(trainer: TrainerConfig) -> list[str]:
    found = unknown("trainer.on_bad_step", [trainer.on_bad_step], ON_BAD_STEP)
    found += unknown("trainer.loss_balance", [trainer.loss_balance], LOSS_BALANCES)
    if trainer.max_steps < 0 and trainer.max_epochs is None:
        found.append("trainer.max_steps or trainer.max_epochs must be set")
    counts = ("batch_size_examples", "batch_tokens", "accumulate_batches")
    every = ("val_every_n_epochs", "balance_every_n_steps")
    return found + below_one("trainer", trainer, (*counts, *every))


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


def _sharding_problems(config: TrainConfig) -> list[str]:
    sharding = config.trainer.sharding
    if sharding not in SHARDINGS or sharding == "none":
        return unknown("trainer.sharding", [sharding], SHARDINGS)
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


def _control_problems(control: ControlConfig) -> list[str]:
    found = unknown("control.match", [control.match], ("data", "size"))
    found += below_one("control", control, ["at_once"])
    if control.patience is not None and control.patience < 1:
        found.append(f"control.patience must be at least 1, or null, not {control.patience}")
    return found


def _mixture_problems(mixture: MixtureConfig) -> list[str]:
    found = unknown("mixture.rates", [mixture.rates], RATES)
    sizes = ("cap_per_task_examples", "cap_per_cluster_examples", "epoch_examples")
    found += below_one("mixture", mixture, sizes)
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
    found = unknown("evaluation.split", [evaluation.split], SPLITS)
    limits = ("max_examples_per_task", "max_new_tokens", "batch_tokens")
    found += below_one("evaluation", evaluation, limits)
    if evaluation.enabled and config.role != "experimental":
        found.append(f"evaluation is for role=experimental, not {config.role}: evaluation=none")
    return found


def _placement_problems(config: TrainConfig) -> list[str]:
    placement, adapter = config.placement, config.adapter
    found = _policies_problems(placement)
    found += unknown("placement.score", [placement.score], PLACEMENT_SCORES)
    if placement.score == "rank_accuracy" and not placement.ranking:
        found.append("placement.score=rank_accuracy needs placement.ranking=true")
    found += unknown("placement.split", [placement.split], SPLITS)
    found += below_one("placement", placement, ("k", "examples_per_task", "calibration_rows"))
    found += wrong_region("placement", placement, placement.policies)
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


def _policies_problems(placement: PlacementConfig) -> list[str]:
    found = unknown("placement.policies", placement.policies, POLICIES)
    for name, values in (("policies", placement.policies), ("seeds", placement.seeds)):
        if len(set(values)) != len(values) or not values:
            found.append(f"placement.{name} must be different ones, at least one: {values}")
    if placement.reference not in placement.policies:
        found.append(f"placement.reference={placement.reference} must be one of placement.policies")
    for policy in placement.policies:
        if policy in POLICIES_OF_STUDY and placement.study is None:
            found.append(
                f"placement policy {policy} needs placement.study=<run folder of probe.py>"
            )
    if ("manual" in placement.policies) != (placement.blocks is not None):
        found.append("placement.blocks=[…] and the policy manual need each other")
    return found
