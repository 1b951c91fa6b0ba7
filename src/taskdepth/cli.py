"""The two commands: compose the config, run the pipeline, tell errors in one line.

Python's traceback helps whoever mends this package; a user's mistake deserves a sentence. So errors
of our family and of Hydra's config system, a full disk and a folder that may not be written to end as
one line on stderr and exit code 1, unless HYDRA_FULL_ERROR=1 asks for everything. Anything else is a
bug here and keeps its traceback.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, Protocol

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from taskdepth import config, launching, stopping, sweep
from taskdepth.credentials import masked
from taskdepth.errors import ConfigError, ResultsError, TaskdepthError, nearest, told_by_the_system
from taskdepth.trust import hydra_checked


def train() -> None:
    """`train.py` and `taskdepth-train`."""

    def run(settings: Any) -> float | None:
        from taskdepth.pipelines import train as pipeline  # after --help, which needs no torch

        return _carry_out(pipeline, settings)

    _main("train", run)


def probe() -> None:
    """`probe.py` and `taskdepth-probe`."""

    def run(settings: Any) -> float | None:
        from taskdepth.pipelines import probe as pipeline

        return _carry_out(pipeline, settings)

    _main("probe", run)


# Threads of OpenMP that wait in a loop make small models many times slower on a machine that does
# other things. It is read when torch is loaded, which is later than this.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

# so long after the first process another one tells an error, if it was not ended meanwhile
FIRST_TELLS_WITHIN_S = 10.0

# the libraries below us warn about each other; nothing that our user could change
FOREIGN_WARNINGS = (
    ".*isinstance.treespec, LeafSpec.*",  # lightning 2.6 on torch 2.13
    ".*is_gradient_checkpointing. is deprecated.*",  # peft 0.21 on transformers 5
)

# All this is done here and not in _main: a worker of a launcher imports this module, and nothing else
# of ours, before it composes the config of its job.
for message in FOREIGN_WARNINGS:
    warnings.filterwarnings("ignore", message=message)
config.register()


class _Result(Protocol):
    @property
    def run_dir(self) -> Path: ...

    @property
    def objective(self) -> float | None: ...

    def to_json(self) -> dict[str, Any]: ...


class _Pipeline(Protocol):
    """A module of `taskdepth.pipelines`."""

    def run(self, config: Any, /) -> _Result: ...

    def finished(self, config: Any, /) -> _Result | None: ...


def _carry_out(pipeline: Any, settings: Any) -> float | None:
    """Run, print the result where a machine asked for it, and return the objective for a sweeper.

    A job of a sweep that has been done before is not done again: a sweep that was stopped goes on.
    """
    steps: _Pipeline = pipeline
    if not launching.is_first():
        settings.output, settings.logger.enabled = "quiet", False
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        result = steps.run(settings)
    else:
        result = _carry_out_job(steps, settings)
    if settings.output == "json":
        print(json.dumps(_without_nan(result.to_json()), ensure_ascii=False), flush=True)
    return result.objective


def _carry_out_job(steps: _Pipeline, settings: Any) -> _Result:
    about = HydraConfig.get()
    quiet = settings.output != "normal"
    job = sweep.Job(int(about.job.num), tuple(about.overrides.task), quiet=quiet)
    if not quiet:
        head = f"\njob {job.number}: {' '.join(job.overrides)}"
        Console(stderr=True, highlight=False).print(head, style="bold", markup=False)
    try:
        earlier = None if settings.overwrite else steps.finished(settings)
        result = earlier or steps.run(settings)
    except TaskdepthError as error:
        sweep.note(sweep.current(), replace(job, error=one_line(error)))
        raise
    found = replace(
        job,
        run_dir=str(result.run_dir),
        objective=result.objective,
        found=earlier is not None,
    )
    sweep.note(sweep.current(), found)
    return result


def _without_nan(content: Any) -> Any:
    """JSON has no NaN: what is undefined is null."""
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _main(name: str, run: Callable[[Any], float | None]) -> None:
    show_everything = os.environ.get("HYDRA_FULL_ERROR") == "1"
    launched: list[int] = []  # how many processes are to do it instead of this one

    def task(cfg: DictConfig) -> float | None:
        _refuse_multirun_on_many_devices(cfg)
        with stopping.stoppable() as request:
            try:
                return attempt(cfg)
            except SystemExit:
                if request.is_made:
                    if launching.is_first():
                        print(stopping.MESSAGE, file=sys.stderr)
                    sys.exit(stopping.EXIT_CODE)
                raise

    def attempt(cfg: DictConfig) -> float | None:
        if show_everything or HydraConfig.get().mode == RunMode.MULTIRUN:
            return begin(cfg)  # a sweep goes on after a failing job; Hydra raises at its end
        try:
            return begin(cfg)
        except TaskdepthError as error:
            _fail(error)
        except Exception as error:
            if launching.has_lost_another(error):
                _fail(ResultsError("another process of this command is gone"))
            if (told := told_by_the_system(error)) is None:
                raise
            _fail(ResultsError(told))

    def begin(cfg: DictConfig) -> float | None:
        settings = config.resolve(cfg)
        many = settings.devices > 1 or config.is_sharded(settings)
        if many and not launching.is_one_of_many():
            launched.append(settings.devices)
            return None
        return run(settings)

    decorated = hydra.main(version_base="1.3", config_path=str(config.conf_dir()), config_name=name)
    try:
        with _hydra_raises(), hydra_checked(), sweep.named() as name_of_sweep:
            try:
                decorated(task)()
            finally:
                sweep.tell(name_of_sweep, Console(stderr=True, highlight=False))
    except (TaskdepthError, HydraException, OmegaConfBaseException) as error:
        if show_everything:
            raise
        _fail(error)
    except ValueError as error:
        # Hydra's answer to `experiment=null`: what a user mistypes, by the name of a bug
        if show_everything or "Config group override" not in str(error):
            raise
        _fail(ConfigError(f"{error}: name one of the group's files, or leave the group out"))
    for devices in launched:  # Hydra and its environment are as they were before
        launching.launch(devices)


@contextmanager
def _hydra_raises() -> Iterator[None]:
    """Inside, Hydra raises its errors instead of printing them over many lines."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def _fail(error: Exception) -> NoReturn:
    if not launching.is_first():
        # most mistakes are found by all processes: the first one tells them, and this one is ended
        time.sleep(FIRST_TELLS_WITHIN_S)
    print(f"error: {masked(one_line(error))}", file=sys.stderr)
    sys.exit(1)


def _refuse_multirun_on_many_devices(cfg: DictConfig) -> None:
    many = launching.n_processes(cfg.get("devices", 1)) > 1
    if HydraConfig.get().mode == RunMode.MULTIRUN and many:
        raise ConfigError(
            "a sweep with several devices per job would start the whole sweep again on every rank: "
            "run single jobs with devices=n or torchrun, or sweep with a launcher (hydra/launcher=…) and "
            "devices=1"
        )


def one_line(error: Exception) -> str:
    """The message of `error` on one line, with the nearest names where Hydra lists what it knows.

    >>> text = "Could not find 'model/tyni'\\n\\nAvailable options in 'model':\\n\\tgpt\\n\\ttiny"
    >>> one_line(Exception(text))
    "Could not find 'model/tyni': did you mean tiny?"
    """
    text = str(error)
    if error.__cause__ is not None and str(error.__cause__) not in text:
        text = f"{text} ({error.__cause__})"
    options = re.search(
        r"Could not find '([^']+)'\s+Available options in '[^']*':\s+(.*?)(?:\n\s*\n|\Z)",
        text,
        re.S,
    )
    if options and options.group(1).startswith(("hydra/launcher/", "hydra/sweeper/")):
        return (
            f"Could not find '{options.group(1)}': the launchers joblib, submitit_local and submitit_slurm "
            "and the sweeper optuna come with pip install -e '.[sweeps]', ray with '.[ray]'"
        )
    if options:
        wanted = options.group(1).rsplit("/", 1)[-1]
        return f"Could not find '{options.group(1)}': {nearest(wanted, options.group(2).split())}"
    return " ".join(text.split())
