"""`python -m taskdepth.scaling`: what a whole study costs on how many GPUs, before anything is bought.

Operations are counted from a model's shape: matrix products alone, two operations for each multiply-add.
How fast they run is an assumption, a share of what a device can do at most; on a machine that is at hand
`probe.py extraction.plan=true` measures it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from taskdepth.activations.plan import block_flops, bytes_on_disk
from taskdepth.activations.recording import row_ranges
from taskdepth.activations.store import SHARD_ROWS
from taskdepth.ranks import deal

# multiples of the forward pass: dX = dY·Wᵀ, and dW = Xᵀ·dY where W learns
BACKWARD_OF_FROZEN, BACKWARD_OF_LEARNT = 1, 2
# of the two products forward: a fused attention keeps no scores, makes Q·Kᵀ again, then dV, dP, dQ and dK
BACKWARD_OF_ATTENTION = 2.5
PROBE_SETS = 2  # the labels, and the control task's
GPUS_OF_A_MACHINE = 8
COMPARED_WITH_CONTROL = 2  # pre-trained and experimental


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama: blocks of attention and a gated MLP, and an LM head."""

    n_blocks: int
    d_model: int
    d_ff: int
    n_heads: int
    n_kv_heads: int
    vocabulary: int

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of each matrix of a block: q, k, v, o, gate, up, down."""
        d, d_kv = self.d_model, self.d_model * self.n_kv_heads // self.n_heads
        return (
            *((d, d), (d, d_kv), (d, d_kv), (d, d)),
            *((d, self.d_ff), (d, self.d_ff), (self.d_ff, d)),
        )

    @property
    def block_weights(self) -> int:
        """Of all blocks."""
        return self.n_blocks * sum(d_in * d_out for d_in, d_out in self.matrices)

    @property
    def weights(self) -> int:
        """With embeddings and LM head, without the norms' vectors."""
        return self.block_weights + 2 * self.vocabulary * self.d_model


LLAMA_2_7B = Shape(32, 4096, 11008, 32, 32, 32000)


def shape_of(lm: Any) -> Shape:
    """That of a Hugging Face Llama."""
    config = lm.config
    return Shape(
        config.num_hidden_layers,
        config.hidden_size,
        config.intermediate_size,
        config.num_attention_heads,
        config.num_key_value_heads,
        config.vocab_size,
    )


def forward_flops(shape: Shape, lengths: Sequence[int]) -> float:
    """Of the blocks over sequences of `lengths` tokens, causal.

    >>> round(forward_flops(LLAMA_2_7B, [128]) / 128 / 1e9, 1)  # per token: twice the weights, and attention
    13.0
    """
    return block_flops(shape.block_weights, shape.n_blocks, shape.d_model, lengths)


def tuning_flops(
    shape: Shape,
    lengths: Sequence[int],
    n_targets: int,
    *,
    lora_rank: int | None = None,
    adapted: Sequence[int] | None = None,
) -> float:
    """Of one step: forward and backward over sequences of `lengths` tokens, `n_targets` of them learnt.

    Without `lora_rank` everything learns: each matrix costs its forward pass three times, once more for
    the gradient of its input and once for its own. A frozen matrix under an adapter needs the former alone,
    twice in all, and its adapter is two small matrices that learn. `adapted` are the places in
    `Shape.matrices` that have one (None: all). The LM head runs where a target is.
    """
    matrices = 2.0 * shape.block_weights * sum(lengths)
    attention = forward_flops(shape, lengths) - matrices
    head = 2.0 * shape.vocabulary * shape.d_model * n_targets
    if lora_rank is None:
        return (1 + BACKWARD_OF_LEARNT) * (matrices + head) + (
            1 + BACKWARD_OF_ATTENTION
        ) * attention
    chosen = shape.matrices if adapted is None else [shape.matrices[i] for i in adapted]
    adapter = 2.0 * shape.n_blocks * sum(lora_rank * sum(sizes) for sizes in chosen) * sum(lengths)
    return (
        (1 + BACKWARD_OF_FROZEN) * (matrices + head)
        + (1 + BACKWARD_OF_LEARNT) * adapter
        + (1 + BACKWARD_OF_ATTENTION) * attention
    )


def comparison_flops(n: int, d_model: int, n_depths: int, n_bootstrap: int) -> float:
    """Both CKA estimators of two models at every depth, with intervals.

    The Gram matrix of each side, eight products of the bootstrap weights with matrices of that size, and six of
    vectors for the influence of single examples.
    """
    return n_depths * 2.0 * n**2 * (2 * d_model + 8 * n_bootstrap + 6)


def map_flops(n: int, d_model: int, n_sides: int) -> float:
    """CKA of all pairs of `n_sides` depths of all models: half of each Gram matrix, half of all pairs."""
    return 1.0 * n_sides * n**2 * d_model + 1.0 * n_sides**2 * n**2


def geometry_flops(n: int, d_model: int, n_depths: int) -> float:
    """A Gram matrix of the smaller side, and its eigenvalues (Golub & Van Loan, 4th ed., section 8.3)."""
    small = min(n, d_model)
    return n_depths * (2.0 * n * d_model * small + 4 / 3 * small**3)


def probe_flops(
    n: int, d_model: int, n_depths: int, n_columns: int, products: float, n_l2s: int
) -> float:
    """The probes of one problem at every depth, to the optimum.

    The principal axes once (a Gram matrix of the smaller side, its eigenvectors, the turned states), then for
    every L2 value `products` pairs of a product with the states and one with their transpose.
    """
    small = min(n, d_model)
    turned = 2.0 * n * d_model * small + 9.0 * small**3
    turned += 2.0 * n * d_model**2 if n > d_model else 0.0
    columns = n_columns * PROBE_SETS
    return n_depths * (turned + n_l2s * products * 4.0 * n * small * columns)


def minibatch_flops(
    n: int, d_model: int, n_depths: int, n_columns: int, n_epochs: float, n_l2s: int
) -> float:
    """The same by `probe.solver=adamw`: forward, and the gradient of the weights."""
    return n_depths * n_epochs * 4.0 * n * d_model * n_columns * PROBE_SETS * n_l2s


@dataclass(frozen=True, slots=True)
class Study:
    """What is studied, at what assumed speeds. The defaults are those of the paper where it says."""

    tasks: int = 69
    clusters: int = 12
    label_tasks: int = 44  # of fixed answers
    classes: int = 3  # of such a task
    prompts: int = 10_000  # test rows of a task, read by all models
    training_rows: int = 10_000  # of a task, to tune on and to probe
    validation_rows: int = 1_000
    prompt_tokens: int = 128
    target_tokens: int = 8
    epochs: int = 3
    batch_rows: int = 64
    lora_rank: int = 8
    poolings: int = 2
    bootstrap: int = 200
    l2s: int = 4
    products: int = 60  # of a probe, for each L2 value
    probe_epochs: int = 20  # of solver=adamw
    bf16_tflops: float = 989 * 0.4
    float32_tflops: float = 67 * 0.4
    processor_tflops: float = 1.0


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: `pieces` are the FLOPs of what is dealt as a whole; a single one is divided at will.

    At most `most` processes are of use. With `shared_by` above 1 so many of them, those of one machine, share
    its rate.
    """

    name: str
    pieces: tuple[float, ...]
    tflops: float  # per second and process
    most: int | None = None
    written_bytes: int = 0
    shared_by: int = 1

    @property
    def flops(self) -> float:
        return sum(self.pieces)

    def hours(self, n_processes: int) -> float:
        """Until the last of them is done."""
        n = max(1, min(n_processes, self.most or n_processes) // self.shared_by)
        dealt = deal(self.pieces, n) if len(self.pieces) > 1 else []
        longest = max((sum(self.pieces[i] for i in hand) for hand in dealt), default=self.flops / n)
        return longest / (self.tflops * 1e12) / 3600


def stages(shape: Shape, study: Study) -> list[Stage]:
    """Every stage of the study, in order."""
    depths, d = shape.n_blocks + 1, shape.d_model
    row = [study.prompt_tokens + study.target_tokens]
    query_and_value = (0, 2)
    step = tuning_flops(
        shape, row, study.target_tokens, lora_rank=study.lora_rank, adapted=query_and_value
    )
    control = step * study.training_rows * study.epochs
    prompt = forward_flops(shape, [study.prompt_tokens])

    def read(n_models: int, n_rows: int) -> tuple[tuple[float, ...], int]:
        """Shards of each task, which its models read together, and the bytes of the states."""
        shards = [n_models * len(rows) * prompt for rows in row_ranges(n_rows, SHARD_ROWS)]
        n_prompts = n_models * n_rows * study.tasks
        kept = bytes_on_disk(n_prompts, depths, d, study.poolings, torch.float32)
        return tuple(shards) * study.tasks, kept

    test, test_bytes = read(3, study.prompts)
    train, train_bytes = read(COMPARED_WITH_CONTROL, study.training_rows + study.validation_rows)
    one = probe_flops(study.training_rows, d, depths, study.classes, study.products, study.l2s)
    n_rows = study.training_rows * study.tasks
    across = sum(
        minibatch_flops(n_rows, d, depths, n_columns, study.probe_epochs, study.l2s)
        for n_columns in (study.tasks, study.clusters)
    )
    pair = comparison_flops(study.prompts, d, depths, study.bootstrap)
    maps = map_flops(study.prompts, d, 3 * depths)
    shapes = 3 * geometry_flops(study.prompts, d, depths)
    compared = study.poolings * (COMPARED_WITH_CONTROL * pair + maps + shapes)  # a task
    of_gpu, of_float32 = study.bf16_tflops, study.float32_tflops
    return [
        Stage("tuning on all tasks", (control * study.tasks,), of_gpu, study.batch_rows),
        Stage(f"{study.tasks} control models", (control,) * study.tasks, of_gpu),
        Stage("extraction, test rows, 3 models", test, of_gpu, None, test_bytes),
        Stage("extraction, other rows, 2 models", train, of_gpu, None, train_bytes),
        Stage("probes of labels", (one,) * study.label_tasks * COMPARED_WITH_CONTROL, of_float32),
        Stage("probes of task and cluster", (COMPARED_WITH_CONTROL * across,), of_float32),
        Stage(
            "similarity, on processors",
            (compared,) * study.tasks,
            study.processor_tflops,
            shared_by=GPUS_OF_A_MACHINE,
        ),
    ]


def table(found: Sequence[Stage], n_gpus: Sequence[int]) -> Table:
    """A line a stage, and their sum."""
    shown = Table(title="what a study costs", caption="predicted, not measured")
    shown.add_column("stage")
    for column in ("PFLOP", "GB kept", *(f"{n} GPU{'s'[: n > 1]}, h" for n in n_gpus)):
        shown.add_column(column, justify="right")
    for stage in found:
        shown.add_row(
            stage.name,
            f"{stage.flops / 1e15:,.1f}",
            f"{stage.written_bytes / 1e9:,.0f}" if stage.written_bytes else "",
            *(f"{stage.hours(n):.2f}" for n in n_gpus),
        )
    shown.add_section()
    shown.add_row(
        "all",
        f"{sum(stage.flops for stage in found) / 1e15:,.1f}",
        f"{sum(stage.written_bytes for stage in found) / 1e9:,.0f}",
        *(f"{sum(stage.hours(n) for stage in found):.2f}" for n in n_gpus),
    )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m taskdepth.scaling", description=__doc__)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64])
    for group, default in (("shape", LLAMA_2_7B), ("study", Study())):
        options = parser.add_argument_group(group)
        for field in fields(default):
            value = getattr(default, field.name)
            options.add_argument(
                f"--{field.name.replace('_', '-')}",
                type=type(value),
                default=value,
                help=f"{value:g}",
            )
    given = vars(parser.parse_args())
    shape = Shape(*(given[field.name] for field in fields(Shape)))
    study = Study(*(given[field.name] for field in fields(Study)))
    console = Console()
    told = ", ".join(f"{name}={value:g}" for name, value in given.items() if name != "gpus")
    console.print(f"{shape.weights / 1e9:.2f} billion weights; {told}", highlight=False)
    console.print(table(stages(shape, study), given["gpus"]))


if __name__ == "__main__":
    main()
