"""From `conf/` and the command line to checked dataclasses, and what tells two configs apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from taskdepth.config.checks import problems
from taskdepth.config.schemas import ProbeConfig, TrainConfig
from taskdepth.credentials import exposed
from taskdepth.errors import ConfigError
from taskdepth.help import groups
from taskdepth.trust import check_targets

# what a run is called, where it lands and how it is shown does not change what it computes
NOT_FINGERPRINTED = (
    *("name", "paths", "overwrite", "devices", "output", "logger", "hydra", "stages", "report"),
)


def conf_dir() -> Path:
    """`conf/`: inside the installed package, or at the top of the checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def root_dir() -> Path:
    """Where `outputs/` lands: the checkout whatever the working folder is, else the working folder."""
    checkout = Path(__file__).parents[3]
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
