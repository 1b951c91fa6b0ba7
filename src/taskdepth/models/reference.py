"""From what a user names on the command line to `ModelRef`s."""

from __future__ import annotations

from pathlib import Path

from taskdepth.errors import ModelError, nearest
from taskdepth.models.folder import ADAPTER_CONFIG, check_adapter, read_object
from taskdepth.types import ModelRef, Role


def refer(path: str, role: Role) -> ModelRef:
    """The model that `path` names: a run folder of train.py, a PEFT or Hugging Face folder, or a hub id.

    Raises:
        ModelError: it is a folder that holds none of these, or an unfinished run.
    """
    folder = Path(path)
    if not folder.is_dir():
        return ModelRef(role, Path(path).name, path)
    for inside in (folder / "adapter", folder):
        if (inside / "adapter_config.json").is_file():
            return ModelRef(role, folder.name, _base_of(inside), adapter=inside)
    for inside in (folder / "model", folder):
        if (inside / "config.json").is_file():
            return ModelRef(role, folder.resolve().name, str(inside))
    if (folder / "config.yaml").is_file():
        raise ModelError(
            f"{path} is a run that has not finished: start the same train.py command again"
        )
    raise ModelError(
        f"{path} holds no model (config.json), adapter (adapter_config.json) or run of train.py"
    )


def refer_controls(path: str, tasks: list[str]) -> dict[str, ModelRef]:
    """The control model of each of `tasks`, from the folder of a control-models run.

    Raises:
        ModelError: there is no list of control models, or one of `tasks` has none.
    """
    index = Path(path) / "controls.json"
    if not index.is_file():
        raise ModelError(
            f"{path} holds no controls.json: run train.py experiment=control_models first"
        )
    trained = read_object(index).get("controls")
    if not isinstance(trained, dict):
        raise ModelError(f"{index} lists no control models")
    if missing := [task for task in tasks if task not in trained]:
        raise ModelError(
            f"no control model for {missing[0]!r} in {path}: {nearest(missing[0], list(trained))}"
        )
    folder = Path(path).resolve()
    refs = {}
    for task in tasks:
        named = trained[task].get("adapter") if isinstance(trained[task], dict) else None
        if not isinstance(named, str) or not named.isprintable():
            raise ModelError(f"{index} names no adapter for {task!r}")
        adapter = (folder / named).resolve()  # symlinks, too
        if not adapter.is_relative_to(folder):
            raise ModelError(f"{index} points outside its folder: {named}")
        if not _is_file(adapter / "adapter_config.json"):
            raise ModelError(f"no adapter at {adapter}")
        refs[task] = ModelRef(Role.CONTROL, f"control-{task}", _base_of(adapter), adapter, task)
    return refs


def _is_file(path: Path) -> bool:
    """Also of a name that no file can have, where pathlib raises."""
    try:
        return path.is_file()
    except OSError:
        return False


def _base_of(adapter: Path) -> str:
    check_adapter(adapter)
    base = read_object(adapter / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ModelError(f"{adapter / ADAPTER_CONFIG} does not say which model it belongs to")
    return base
