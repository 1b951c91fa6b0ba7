"""Processes that meet by gloo on this machine, as torchrun would start them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import taskdepth

TESTS = Path(__file__).parent


def found_by_two(module: Path, folder: Path, port: int) -> list[Any]:
    """`found_by` two processes."""
    return found_by(2, module, folder, port)


def found_by(n_ranks: int, module: Path, folder: Path, port: int) -> list[Any]:
    """What `work_of_a_rank(rank, folder)` of a test module leaves in `folder` as `0.pt`, `1.pt`, …"""
    places = [str(module.parent), str(TESTS), str(Path(taskdepth.__file__).parents[1])]
    processes = []
    for rank in range(n_ranks):
        code = f"import pathlib, {module.stem} as t; t.work_of_a_rank({rank}, pathlib.Path({str(folder)!r}))"
        env = os.environ | {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
        # what torchrun sets, and Lightning looks at
        env |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(n_ranks)}
        env |= {"LOCAL_WORLD_SIZE": str(n_ranks), "GROUP_RANK": "0", "GROUP_WORLD_SIZE": "1"}
        env |= {"TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1"}
        env |= {"MASTER_PORT": str(port)}
        processes.append(
            subprocess.Popen([sys.executable, "-c", code], env=env, stderr=subprocess.PIPE)
        )
    try:
        for process in processes:
            _, said = process.communicate(timeout=120)
            assert process.returncode == 0, said.decode()
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return [torch.load(folder / f"{rank}.pt") for rank in range(n_ranks)]
