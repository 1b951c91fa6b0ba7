"""One fit: a tuner, its data, and a Lightning Trainer built from the config."""

from __future__ import annotations

import functools
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # nosec B403
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar
from torch import nn

from taskdepth import layers, ranks, stopping
from taskdepth.config import TrainConfig
from taskdepth.data.module import PlainTextDataModule, TaskDataModule
from taskdepth.errors import ConfigError, DataError, ModelError
from taskdepth.models import adalora
from taskdepth.models.bad_steps import BadStep, StepGuard
from taskdepth.models.balance import Balance, CoBa, SelfPaced
from taskdepth.models.checkpoints import StopBetweenSteps, WholeCheckpoints
from taskdepth.models.half_tuning import HalfTuning
from taskdepth.models.pace import Pace
from taskdepth.models.packing import packed
from taskdepth.models.prefix_cache import PrefixCache, has_room_on_disk, n_bytes, reusable_blocks
from taskdepth.models.sharding import Sharding
from taskdepth.models.tuner import InstructionTuner, OptimizerFactory, Schedule
from taskdepth.trust import locate

# devices, tips and "max_steps reached": our own output says what matters
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class FitReport:
    """What one fit came to. `validation`: task → score → value, empty without validation rows.

    `train_loss` is that of the last step, None without any. `trained`: task → loss and token accuracy over
    the whole training. `reused_blocks` are those that ran once for each row. `skipped_steps` were no numbers.
    """

    steps: int
    epochs: int
    train_loss: float | None
    validation: dict[str, dict[str, float]]
    trained: dict[str, dict[str, float]]
    trainable_parameters: int
    seconds: float
    reused_blocks: int = 0
    skipped_steps: tuple[BadStep, ...] = ()

    def mean(self, score: str) -> float | None:
        """The mean of a validation score over the tasks that have it."""
        values = [scores[score] for scores in self.validation.values() if score in scores]
        return sum(values) / len(values) if values else None


def fit(
    lm: nn.Module,
    task_names: Sequence[str],
    data: TaskDataModule | PlainTextDataModule,
    config: TrainConfig,
    *,
    callbacks: Sequence[Callback] = (),
    logger: Any = False,
    ckpt_path: Path | None = None,
) -> FitReport:
    """Tune `lm` in place, from `ckpt_path` on if given, and validate it at the end.

    Raises:
        ModelError: the checkpoint would have to be unpickled.
    """
    start_s = time.perf_counter()
    shows = any(isinstance(callback, ProgressBar) for callback in callbacks)
    prefix = prefix_cache(lm, data, config, quiet=not shows)
    guard = StepGuard(config.trainer.on_bad_step, data.training.name_of)
    tuner = InstructionTuner(
        lm,
        task_names,
        optimizer_of(config),
        Schedule(n_steps(config, len(data.train_dataloader())), **vars(config.scheduler)),
        config.trainer.loss_balance,
        prefix,
        guard,
        config.trainer.sharding,
    )
    can_validate = sum(ranks.told_by_all(len(data.val_dataloader()))) > 0
    between_steps = schedules(config, lm) + _pacing(config, len(task_names), can_validate)
    trainer = _trainer(config, callbacks, between_steps, logger, can_validate)
    with (
        stopping.between_steps() as request,
        prepared(lm, config, data.batching.packed),
        _without_warnings(),
    ):
        trainer.callbacks.append(StopBetweenSteps(request))  # type: ignore[attr-defined]
        try:
            trainer.fit(
                tuner, datamodule=data, ckpt_path=ckpt_path, weights_only=ckpt_path is not None
            )
        except UnpicklingError as error:
            raise ModelError(
                f"{ckpt_path} holds more than weights and counters, which could run code: not read"
            ) from error
        if can_validate and tuner.validated_at_step != trainer.global_step:
            trainer.validate(tuner, datamodule=data, verbose=False)
    # Lightning's own count is one less for a run that goes on from the very end of an epoch
    epoch_steps = -(-len(data.train_dataloader()) // config.trainer.accumulate_batches)
    return FitReport(
        steps=trainer.global_step,
        epochs=trainer.global_step // epoch_steps,
        train_loss=None if tuner.last_loss is None else float(tuner.last_loss),
        validation=tuner.validation,
        trained=tuner.trained.by_task(task_names),
        trainable_parameters=sum(p.numel() for p in lm.parameters() if p.requires_grad),
        seconds=time.perf_counter() - start_s,
        reused_blocks=prefix.first_block if prefix else 0,
        skipped_steps=tuple(guard.skipped),
    )


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Of Lightning, about what is meant to be so."""
    with warnings.catch_warnings():
        # a resumed run finds its own checkpoints; that is the purpose
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        # a named checkpoint may come from another run; nothing of its folder is wanted
        warnings.filterwarnings("ignore", message="The dirpath has changed")
        # validation while tuning is shorter than an epoch of logging
        warnings.filterwarnings("ignore", message="The number of training batches")
        yield


def prefix_cache(
    lm: Any,
    data: TaskDataModule | PlainTextDataModule,
    config: TrainConfig,
    *,
    n_caches: int = 1,
    quiet: bool = True,
) -> PrefixCache | None:
    """What is to be kept below the lowest block that learns; None where that is not wanted, or cannot be.

    `n_caches` share the memory.

    Raises:
        ConfigError: `trainer.prefix_cache=true` asks for what cannot be.
    """
    settings = config.trainer
    wanted = settings.prefix_cache
    n_batches = len(data.train_dataloader())
    # it costs what the blocks below cost in one epoch, and saves that in every later one
    is_worth_it = n_steps(config, n_batches) * settings.accumulate_batches > n_batches
    is_possible = not settings.compile and not ranks.is_joined()
    if wanted is False or (wanted == "auto" and not (is_possible and is_worth_it)):
        return None
    rows, folder = data.training.rows, Path(config.paths.run_dir)
    weight = lm.get_input_embeddings().weight
    needed_bytes = n_bytes(rows.counts()["tokens"], weight.shape[1], weight.dtype)
    limit_bytes = settings.prefix_cache_bytes // n_caches
    fits = needed_bytes <= limit_bytes
    if not fits and wanted is True and not (fits := has_room_on_disk(needed_bytes, folder)):
        raise ConfigError(f"trainer.prefix_cache=true: {needed_bytes} bytes of disk are not free")
    first = reusable_blocks(lm) if fits else 0
    if first:
        return PrefixCache(
            rows,
            first,
            packed=data.batching.packed,
            limit_bytes=limit_bytes,
            folder=folder,
            quiet=quiet,
        )
    if wanted is True:
        raise ConfigError(
            "trainer.prefix_cache=true: the lowest block learns, or those below have dropout, or they "
            "cannot be passed over"
        )
    return None


def n_steps(config: TrainConfig, n_batches: int) -> int:
    """The optimizer steps of a whole run."""
    settings = config.trainer
    if settings.max_steps >= 0:
        return settings.max_steps
    return -(-n_batches // settings.accumulate_batches) * (settings.max_epochs or 1)


def schedules(config: TrainConfig, lm: nn.Module) -> list[Callback]:
    """The callbacks by which a way of tuning acts between steps."""
    found: list[Callback] = []
    if config.adapter.method == "hft":
        found.append(HalfTuning(lm, config.seed, config.adapter.round_steps))
    if adalora.is_adalora(lm):
        found.append(adalora.RankSchedule(lm))
    return found


@contextmanager
def prepared(lm: Any, config: TrainConfig, pack: bool) -> Iterator[None]:
    """Inside, `lm` runs as the trainer's flags ask."""
    settings = config.trainer
    if settings.compile:
        for block in layers.find_blocks(lm):
            block.compile(dynamic=True)
    if settings.gradient_checkpointing:
        # the reentrant kind needs inputs that learn, which a frozen model under an adapter has not
        lm.activation_checkpointing_enable({"use_reentrant": False})
    try:
        with packed(lm) if pack else nullcontext():
            yield
    finally:
        if settings.gradient_checkpointing:
            lm.activation_checkpointing_disable()


def _pacing(config: TrainConfig, n_tasks: int, can_validate: bool) -> list[Callback]:
    """What weighs the tasks anew while they are learnt, if that is asked for.

    Raises:
        DataError: it looks at validation rows, and there are none.
    """
    settings = config.trainer
    if settings.loss_balance == Balance.SELF_PACED:
        return [Pace(SelfPaced(n_tasks), settings.balance_every_n_steps)]
    if settings.loss_balance != Balance.COBA:
        return []
    if not can_validate:
        raise DataError("trainer.loss_balance=coba needs validation rows: there are none")
    return [Pace(CoBa(n_tasks), settings.balance_every_n_steps)]


def optimizer_of(config: TrainConfig) -> OptimizerFactory:
    """What makes the optimizer of the parameters it is called with.

    Raises:
        ConfigError: there is no such optimizer, or it may not be named in a config.
    """
    settings = config.optimizer
    return functools.partial(
        locate(settings._target_),
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        **settings.options,
    )


def _trainer(
    config: TrainConfig,
    callbacks: Sequence[Callback],
    between_steps: Sequence[Callback],
    logger: Any,
    can_validate: bool,
) -> lightning.Trainer:
    settings = config.trainer
    # Lightning stops at whichever comes first; without epochs the steps count, and an epoch has at least one
    max_epochs = settings.max_epochs if settings.max_steps < 0 else settings.max_steps
    options = dict(settings.options)
    is_sharded = settings.sharding != Sharding.NONE
    # parts are written by the strategy
    whole = [] if is_sharded else [WholeCheckpoints()]
    plugins = [*whole, *options.pop("plugins", ())]
    return lightning.Trainer(
        max_epochs=max_epochs,
        max_steps=settings.max_steps,
        accumulate_grad_batches=settings.accumulate_batches,
        gradient_clip_val=settings.gradient_clip_norm,
        accelerator=settings.accelerator,
        **ranks.all_devices(settings.accelerator, sharded=is_sharded),
        precision=settings.precision,  # type: ignore[arg-type]  # Lightning checks the word
        check_val_every_n_epoch=settings.val_every_n_epochs,
        log_every_n_steps=settings.log_every_n_steps,
        callbacks=[*between_steps, *callbacks],
        logger=logger,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        enable_model_summary=False,
        limit_val_batches=None if can_validate else 0,
        num_sanity_val_steps=0,
        plugins=plugins,
        **options,
    )
