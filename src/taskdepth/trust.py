"""What a config may name: a config from a stranger must not run code.

`_target_` in a config file means "call this", so a file could call anything that is installed. Here
only the classes can be named that a swap point is for: an adapter's settings, an architecture, an
optimizer, a callback, a source of rows. Hydra's own section is looked at too, before Hydra uses it.

Modules of one's own are let in from the shell, `TASKDEPTH_ALLOW_TARGETS=my_package python train.py …`;
no config file can set that. docs/security.md says what this defends against, and what not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig, OmegaConf

from taskdepth.errors import ConfigError

VARIABLE = "TASKDEPTH_ALLOW_TARGETS"
# where a class may be defined, and one of what it must come from; our own sources have no common base
BASES = {
    "taskdepth.tasks": (),
    "peft": ("peft.config.PeftConfigMixin",),
    "peft.tuners.lora.config": (),  # settings within settings: EvaConfig, CordaConfig
    "transformers": ("transformers.configuration_utils.PreTrainedConfig",),
    "torch.optim": ("torch.optim.optimizer.Optimizer",),
    "lightning.pytorch.callbacks": ("lightning.pytorch.callbacks.callback.Callback",),
    "optuna.samplers": ("optuna.samplers._base.BaseSampler",),  # in Hydra's own section
    "taskdepth.models.checkpoints": ("lightning.pytorch.callbacks.callback.Callback",),
    "taskdepth.models.progress": ("lightning.pytorch.callbacks.callback.Callback",),
}
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")

# of Hydra's section: what sets variables, runs shell lines, or calls what it names
HYDRA_ACTS = (
    *("callbacks", "job.env_set", "launcher.setup", "launcher.python"),
    "sweeper.custom_search_space",
)
LOGGING = ("job_logging", "hydra_logging")
LOGGING_CLASSES = (
    *("logging.StreamHandler", "logging.NullHandler", "logging.Formatter"),
    *("colorlog.ColoredFormatter", "ext://sys.stdout", "ext://sys.stderr"),
)


def allowed_by_user(name: str) -> bool:
    """Whether the user's shell lets in `name`, or the module that it is in."""
    named = os.environ.get(VARIABLE, "").replace(",", " ").split()
    return any(_is_within(name, module) for module in named)


def locate(target: Any) -> Any:
    """The class that `target` names.

    Raises:
        ConfigError: it may not be named in a config, or cannot be found.

    >>> locate("torch.optim.AdamW").__name__
    'AdamW'
    >>> locate("peft.config.os.system")
    Traceback (most recent call last):
    taskdepth.errors.ConfigError: _target_=peft.config.os.system is not allowed in a config: it is no adapter, \
architecture, optimizer, callback or source; for modules of your own start the command with \
TASKDEPTH_ALLOW_TARGETS=<module>
    """
    name = str(target)
    if not _may_be_imported(name):
        raise ConfigError(_refusal(name))
    found = _found(name)
    if not allowed_by_user(name) and not (isinstance(found, type) and _may_be_built(found)):
        raise ConfigError(_refusal(name))
    return found


def strange_targets(node: Any) -> Iterator[str]:
    """One phrase for each `_target_` in `node` whose very name is refused; nothing is imported."""
    if isinstance(node, Mapping):
        if "_target_" in node and not _may_be_imported(str(node["_target_"])):
            yield _refusal(str(node["_target_"]))
        for value in node.values():
            yield from strange_targets(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from strange_targets(value)


def check_targets(node: Any, *, resolved: bool = True) -> None:
    """Look at every `_target_` in `node`, at whatever depth.

    A `resolved` node must hold no interpolation any more: Hydra resolves once more when it builds, and
    that could bring in another `_target_`.

    Raises:
        ConfigError: one may not be named, or something could still turn into one.
    """
    if isinstance(node, Mapping):
        if "_target_" in node:
            locate(node["_target_"])
        for key, value in node.items():
            check_targets(key, resolved=resolved)
            check_targets(value, resolved=resolved)
    elif isinstance(node, (list, tuple)):
        for value in node:
            check_targets(value, resolved=resolved)
    elif resolved and isinstance(node, str) and "${" in node:
        raise ConfigError(f"{node!r} is not resolved: settings of a _target_ are plain values")


def check_hydra(section: DictConfig) -> None:
    """Look at the `hydra` section of a composed config.

    Raises:
        ConfigError: it would run something.
    """
    for name in HYDRA_ACTS:
        if OmegaConf.select(section, name) and not allowed_by_user(f"hydra.{name}"):
            raise ConfigError(
                f"hydra.{name} could run any code: if you wrote it, start the command with "
                f"{VARIABLE}=hydra.{name}"
            )
    for name in LOGGING:
        _check_logging(_plain(section, name), name)
    for name in ("launcher", "sweeper"):
        settings = _plain(section, name)
        settings.pop("_target_", None)  # Hydra takes these from its plugins only
        check_targets(settings, resolved=False)


@contextmanager
def hydra_checked() -> Iterator[None]:
    """Inside, no config reaches Hydra's callbacks, plugins or logging unseen.

    Hydra has no place of its own for this: it acts on its section before it calls us.
    """
    load = ConfigLoaderImpl.load_configuration

    def checked(self: ConfigLoaderImpl, *args: Any, **kwargs: Any) -> DictConfig:
        cfg = load(self, *args, **kwargs)
        check_hydra(cfg.hydra)
        return cfg

    ConfigLoaderImpl.load_configuration = checked  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = load  # type: ignore[method-assign]


def _plain(section: DictConfig, name: str) -> dict[str, Any]:
    content: Any = section.get(name)
    return {} if content is None else cast("dict[str, Any]", OmegaConf.to_container(content))


def _check_logging(node: Any, section: str) -> None:
    """`logging.config` imports and calls what a handler or formatter names."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in ("()", "class") or (isinstance(value, str) and value.startswith("ext://")):
                if value not in LOGGING_CLASSES and not allowed_by_user(f"hydra.{section}"):
                    raise ConfigError(
                        f"hydra.{section} names {value}, which could run any code or write anywhere: if you "
                        f"wrote it, start the command with {VARIABLE}=hydra.{section}"
                    )
            else:
                _check_logging(value, section)
    elif isinstance(node, list):
        for value in node:
            _check_logging(value, section)


def _may_be_imported(name: str) -> bool:
    return _DOTTED.fullmatch(name) is not None and (
        allowed_by_user(name) or any(_is_within(name, module) for module in BASES)
    )


def _may_be_built(found: type) -> bool:
    """By where a class is defined: a name may lead through one module into another, `peft.os.system`."""
    lineage = {f"{base.__module__}.{base.__qualname__}" for base in found.__mro__}
    return any(
        _is_within(found.__module__, module) and (not bases or lineage & set(bases))
        for module, bases in BASES.items()
    )


def _is_within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _found(name: str) -> Any:
    parts = name.split(".")
    try:
        found: Any = import_module(parts[0])
        for i, part in enumerate(parts[1:], start=2):
            if not hasattr(found, part):
                import_module(".".join(parts[:i]))
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"_target_={name} cannot be found: {error}") from error
    return found


def _refusal(name: str) -> str:
    return (
        f"_target_={name} is not allowed in a config: it is no adapter, architecture, optimizer, callback or "
        f"source; for modules of your own start the command with {VARIABLE}=<module>"
    )
