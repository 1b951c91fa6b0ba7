"""Adapters that mix their skills by task (Poly, MHR): every forward pass must know whose rows it reads.

A routed adapter has a row of mixing weights per task, in the order it was trained with. That order is kept
beside the adapter in `tasks.json`, so that a task is found again by its name.

Poly: Ponti et al. 2022, arXiv:2202.13914; MHR: Caccia et al. 2022, arXiv:2211.03831.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from peft.tuners.poly import PolyConfig, PolyModel
from peft.tuners.poly.layer import PolyLayer
from torch import Tensor, nn

from taskdepth.errors import ModelError, nearest
from taskdepth.files import write_json

TASKS_FILE = "tasks.json"


def is_routed(model: nn.Module) -> bool:
    """Whether `model` wears an adapter that must be told the task."""
    return isinstance(getattr(model, "base_model", None), PolyModel)


def fill(config: PolyConfig, tasks: Sequence[str]) -> None:
    """Give `config` a route for each of `tasks`.

    Raises:
        ModelError: no task is named, or `n_tasks` says another number.
    """
    if not tasks:
        raise ModelError("a routed adapter needs to know its tasks: none is given")
    if config.n_tasks not in (None, len(tasks)):
        raise ModelError(
            f"adapter.peft.n_tasks={config.n_tasks}, but {len(tasks)} tasks are chosen: leave it null"
        )
    config.n_tasks = len(tasks)


@contextmanager
def routed(model: Any, task: str | Int[Tensor, " b"]) -> Iterator[None]:
    """Inside, rows take the route of `task`: a name for all of them, or an index for each.

    Does nothing to a model without routes. Where gradients are taken the route stays until the next one, for
    blocks that the backward pass computes again.

    Raises:
        ModelError: the adapter was not trained on that task.
    """
    if not is_routed(model):
        yield
        return
    index = torch.tensor([_index_of(task, tasks_of(model))]) if isinstance(task, str) else task

    def route(
        _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        rows = len(args[0])
        if len(index) not in (1, rows):
            raise ModelError(
                f"{len(index)} examples in {rows} rows: a routed adapter needs one example a row, "
                "trainer.packing=false"
            )
        return args, {**kwargs, "task_ids": index.expand(rows)}

    _forget_route(model)
    layers = [module for module in model.modules() if isinstance(module, PolyLayer)]
    model.route_handles = [m.register_forward_pre_hook(route, with_kwargs=True) for m in layers]
    try:
        yield
    finally:
        # what is learnt from may be computed once more in the backward pass (gradient checkpointing)
        if not torch.is_grad_enabled():
            _forget_route(model)


def _forget_route(model: Any) -> None:
    for handle in getattr(model, "route_handles", ()):
        handle.remove()
    model.route_handles = []


def tasks_of(model: nn.Module) -> tuple[str, ...]:
    """The tasks that `model` has routes for, in their order; empty without routes."""
    return tuple(getattr(model, "routed_tasks", ()))


def check_splits(model: nn.Module) -> None:
    """Refuse a routed adapter that the model has no room for.

    Raises:
        ModelError: a weight of a routed adapter cannot be cut into its splits.
    """
    for name, module in model.named_modules():
        if not isinstance(module, PolyLayer):
            continue
        n_splits = next(iter(module.n_splits.values()))
        if module.in_features % n_splits or module.out_features % n_splits:
            raise ModelError(
                f"adapter.peft.n_splits={n_splits} does not divide the width of {name} "
                f"({module.in_features} to {module.out_features})"
            )


def remember(model: Any, tasks: Sequence[str]) -> None:
    """Tell `model` which task each of its routes belongs to."""
    model.routed_tasks = tuple(tasks)


def write(model: nn.Module, folder: Path) -> None:
    """Keep the order of the tasks beside a routed adapter; nothing for others."""
    if is_routed(model):
        write_json(folder / TASKS_FILE, list(tasks_of(model)))


def read(folder: Path) -> tuple[str, ...]:
    """The tasks of the adapter in `folder`; empty when it has no routes."""
    path = folder / TASKS_FILE
    return tuple(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else ()


def check(folder: Path, task: str) -> None:
    """Refuse a task that a routed adapter was not trained on.

    Raises:
        ModelError: the adapter in `folder` has routes, but none for `task`.
    """
    if tasks := read(folder):
        _index_of(task, tasks)


def _index_of(task: str, tasks: Sequence[str]) -> int:
    if task not in tasks:
        raise ModelError(f"the adapter has no route for task {task}: {nearest(task, list(tasks))}")
    return list(tasks).index(task)
