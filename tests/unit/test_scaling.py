"""The cost model against torch's own counter, and what a study takes on more and more processes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode

from taskdepth import scaling
from taskdepth.activations.plan import forward_flops as flops_of_model
from taskdepth.probing.solver import fit_path
from taskdepth.scaling import LLAMA_2_7B, Stage, Study
from taskdepth.similarity.comparison import compare
from taskdepth.similarity.geometry import geometry_of
from tiny import tiny_llama

MATRICES = {"mm", "addmm"}  # attention multiplies batches
LENGTH, N_TARGETS = 20, 5


def counted(counter: FlopCounterMode, names: set[str]) -> int:
    found: dict[Any, int] = counter.get_flop_counts()["Global"]
    return sum(n for op, n in found.items() if str(op).split(".")[-1] in names)


def of_matrices(shape: scaling.Shape) -> float:
    """The FLOPs of one forward pass through the blocks' matrices."""
    return 2.0 * shape.block_weights * LENGTH


def test_the_weights_of_llama_2_7b() -> None:
    norms = (2 * 32 + 1) * 4096
    assert LLAMA_2_7B.weights + norms == 6_738_415_616  # as its model card's files hold


def test_a_shape_counts_forward_as_the_plan_does() -> None:
    lm = tiny_llama().lm
    shape = scaling.shape_of(lm)
    assert shape.n_kv_heads < shape.n_heads
    assert scaling.forward_flops(shape, [3, 20]) == flops_of_model(lm, [3, 20])


@pytest.mark.parametrize("adapted", [None, (0, 2)])
def test_tuning_costs_what_torch_counts(adapted: tuple[int, ...] | None) -> None:
    lm = tiny_llama().lm
    lm.set_attn_implementation("eager")
    shape, rank = scaling.shape_of(lm), 4
    names = "all-linear" if adapted is None else ["q_proj", "v_proj"]
    tuned = get_peft_model(lm, LoraConfig(r=rank, target_modules=names, task_type="CAUSAL_LM"))
    ids = torch.arange(1, LENGTH + 1)[None]
    with FlopCounterMode(display=False) as counter:
        states = tuned.base_model.model.model(ids).last_hidden_state[0, -N_TARGETS:]
        torch.autograd.backward(lm.lm_head(states).sum())
    predicted = scaling.tuning_flops(
        shape, [LENGTH], N_TARGETS, lora_rank=rank, adapted=adapted
    ) - (1 + scaling.BACKWARD_OF_ATTENTION) * (
        scaling.forward_flops(shape, [LENGTH]) - of_matrices(shape)
    )
    # nothing below block 0 learns: its q, k and v, and their adapters, need no gradient of their input
    q_k_v = shape.matrices[:3]
    unneeded = 2.0 * LENGTH * sum(d_in * d_out for d_in, d_out in q_k_v)
    with_adapter = [q_k_v[i] for i in (0, 1, 2) if adapted is None or i in adapted]
    unneeded += 2.0 * LENGTH * rank * sum(d_in for d_in, _ in with_adapter)
    assert counted(counter, MATRICES) == predicted - unneeded


def test_tuning_all_weights_costs_what_torch_counts() -> None:
    lm = tiny_llama().lm
    lm.set_attn_implementation("eager")
    shape = scaling.shape_of(lm)
    with FlopCounterMode(display=False) as counter:
        states = lm.model(torch.arange(1, LENGTH + 1)[None]).last_hidden_state[0, -N_TARGETS:]
        torch.autograd.backward(lm.lm_head(states).sum())
    attention = scaling.forward_flops(shape, [LENGTH]) - of_matrices(shape)
    predicted = scaling.tuning_flops(shape, [LENGTH], N_TARGETS)
    matrices = predicted - (1 + scaling.BACKWARD_OF_ATTENTION) * attention
    assert counted(counter, MATRICES) == matrices


@pytest.mark.parametrize("n", [12, 40])
def test_similarity_costs_what_torch_counts(n: int) -> None:
    depths, d, n_bootstrap = 3, 16, 10
    x, y = torch.randn(2, depths, n, d, generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        compare(x, y, n_bootstrap=n_bootstrap, n_shuffles=2)
    assert counter.get_total_flops() == scaling.comparison_flops(n, d, depths, n_bootstrap)


@pytest.mark.parametrize(("n", "d"), [(30, 8), (8, 30)])
def test_geometry_and_axes_cost_what_torch_counts(n: int, d: int) -> None:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(0))
    small = min(n, d)
    with FlopCounterMode(display=False) as counter:
        geometry_of(x)
    products = scaling.geometry_flops(n, d, 1) - 4 / 3 * small**3
    assert counter.get_total_flops() == pytest.approx(products)


@pytest.mark.parametrize("n", [64, 128, 256])
def test_probes_take_a_stable_number_of_products(n: int) -> None:
    d, n_classes, l2s = 16, 3, (1.0, 10.0, 100.0, 1000.0)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator)
    y = (x @ torch.randn(d, n_classes, generator=generator)).argmax(dim=1)
    sets = torch.stack([y, y[torch.randperm(n, generator=generator)]])
    with FlopCounterMode(display=False) as counter:
        fit_path(x[None], sets[:, None], l2s, n_classes=n_classes)
    without = scaling.probe_flops(n, d, 1, n_classes, 0, len(l2s)) - 9.0 * d**3
    one = scaling.probe_flops(n, d, 1, n_classes, 1, len(l2s)) - 9.0 * d**3 - without
    assert 1 < (counter.get_total_flops() - without) / one < Study().products


@pytest.mark.parametrize(
    ("pieces", "most", "n", "expected_hours"),
    [
        ((8.0,), None, 1, 8.0),
        ((8.0,), None, 4, 2.0),  # divided at will
        ((8.0,), 2, 64, 4.0),  # no more than two are of use
        ((1.0,) * 69, None, 64, 2.0),  # two turns
        ((1.0,) * 69, None, 35, 2.0),
        ((1.0,) * 69, None, 69, 1.0),
        ((5.0, 1.0, 1.0), None, 8, 5.0),  # the dearest one is not divided
    ],
)
def test_hours(pieces: tuple[float, ...], most: int | None, n: int, expected_hours: float) -> None:
    stage = Stage("s", tuple(3.6e15 * piece for piece in pieces), 1.0, most)
    assert stage.hours(n) == pytest.approx(expected_hours)


def test_a_study_grows_with_its_tasks_and_rows() -> None:
    study = Study(tasks=8, label_tasks=8)
    before = scaling.stages(LLAMA_2_7B, study)
    tasks = scaling.stages(LLAMA_2_7B, replace(study, tasks=16, label_tasks=16))
    for one, two in zip(before, tasks, strict=True):
        assert two.written_bytes == 2 * one.written_bytes
        if "cluster" not in one.name:  # one class per task
            assert two.flops == pytest.approx(2 * one.flops)
    rows = scaling.stages(LLAMA_2_7B, replace(study, prompts=20_000))
    assert rows[2].flops == pytest.approx(2 * before[2].flops)
    assert rows[2].written_bytes == 2 * before[2].written_bytes
    assert before[2].written_bytes == 3 * 8 * 10_000 * 33 * 4096 * 2 * 4


def test_the_documented_table_is_what_the_command_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "argv", ["scaling"])
    scaling.main()
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    text = (Path(__file__).parents[2] / "docs/scaling.md").read_text(encoding="utf-8")
    assert "\n".join(printed) in text
