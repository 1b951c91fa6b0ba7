"""The numbers of the paper's figures that the layer table does not hold, from states extracted before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from taskdepth.config import ProbeConfig
from taskdepth.errors import ConfigError
from taskdepth.pipelines.matching import MatchedStates
from taskdepth.pipelines.study import ExamplesOf, Study
from taskdepth.results.layer_grid import MEASURE, similarity_grid
from taskdepth.results.paper_figures import FIGURES, save_paper_figures
from taskdepth.results.paper_numbers import (
    DIMENSIONS,
    Agreement,
    Correlation,
    PaperNumbers,
    Scatter,
)
from taskdepth.results.table import LayerTable, Row, pooled_name
from taskdepth.results.task_maps import MEASURES, TaskMaps
from taskdepth.seeds import stable_seed
from taskdepth.similarity.clustering import cluster_agreement
from taskdepth.similarity.correlation import benjamini_hochberg, spearman
from taskdepth.similarity.geometry import dimensions_for_variance
from taskdepth.similarity.projection import pca, tsne
from taskdepth.similarity.tasks import task_similarity
from taskdepth.tasks.readability import readability
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import ModelRef, Role, Split

TASK_MAPS = "task_maps.safetensors"
PAPER_NUMBERS = "paper_figures.json"
AGREEMENT_PERMUTATIONS = 999  # each is as much work as hundreds of those of figure 6
N_LAYERS_SHOWN = 4  # where report.paper_figures.layers names none


def check_paper_figures(config: ProbeConfig, specs: Sequence[TaskSpec], study: Study) -> None:
    """Tell before hours of work that the figures cannot be drawn; raises as `paper_numbers` does."""
    _layers(config.report.paper_figures.layers, study.n_blocks)
    MatchedStates(config, specs, study)


def draw_paper_figures(
    config: ProbeConfig,
    specs: Sequence[TaskSpec],
    study: Study,
    examples: ExamplesOf,
    table: LayerTable,
    folder: Path,
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Write the figures, `paper_figures.json` and `task_maps.safetensors` into the run's folder.

    Returns the pictures by name, and what is missing and why; raises as `paper_numbers` does.
    """
    numbers = paper_numbers(config, specs, study, examples, table)
    numbers.maps.write(folder / TASK_MAPS)
    numbers.write(folder / PAPER_NUMBERS, table)
    pictures = save_paper_figures(table, numbers, folder / "figures")
    if left_out := [name for name in FIGURES if name not in pictures]:
        why = "there is nothing to show (2, 3 and 6 need models.controls)"
        return pictures, (*numbers.notes, f"left out: {', '.join(left_out)}: {why}")
    return pictures, numbers.notes


def paper_numbers(
    config: ProbeConfig,
    specs: Sequence[TaskSpec],
    study: Study,
    examples: ExamplesOf,
    table: LayerTable,
) -> PaperNumbers:
    """Read the states depth by depth and measure tasks against tasks, as many rows of each.

    Raises:
        ConfigError: a layer is asked for that the model has not.
        DataError: too few tasks, or rows, to compare.
        ResultsError: the states were not extracted.
    """
    settings = config.report.paper_figures
    layers = _layers(settings.layers, study.n_blocks)
    states = MatchedStates(config, specs, study)
    specs = states.specs
    maps = _maps(states, study)
    scatters = tuple(
        _scatter(config, states, ref, layer) for ref in study.models.compared for layer in layers
    )
    tuning = _tuning(config, specs)
    properties = {spec.name: _properties(config, spec, examples, tuning) for spec in specs}
    return PaperNumbers(
        pooling=states.pooling,
        projection=settings.projection,
        points_of=tuple(spec.name for spec in specs for _ in range(states.n_points)),
        scatters=scatters,
        geometry=_geometry(config, states, study, table),
        properties=properties,
        correlations=_correlations(config, study, table, properties, states.pooling),
        maps=maps,
        agreements=_agreements(config, maps),
        unseen=tuning.unseen,
        notes=tuning.notes,
    )


def _layers(wanted: Sequence[int] | None, n_blocks: int) -> list[int]:
    """Layers of figures 4 and 7, ascending: those named, or some from the first to the last."""
    if wanted is None:
        spread = np.linspace(1, n_blocks, min(N_LAYERS_SHOWN, n_blocks))
        return sorted({round(layer) for layer in spread.tolist()})
    if beyond := [layer for layer in wanted if not 1 <= layer <= n_blocks]:
        raise ConfigError(
            f"report.paper_figures.layers={list(wanted)}: layer {beyond[0]} is not one of 1 to {n_blocks}"
        )
    return sorted(set(wanted))


def _maps(states: MatchedStates, study: Study) -> TaskMaps:
    compared, depths, specs = study.models.compared, range(study.n_blocks + 1), states.specs
    n = len(specs)
    values = {name: torch.full((len(compared), len(depths), n, n), torch.nan) for name in MEASURES}
    pairs = [(i, ref, depth) for i, ref in enumerate(compared) for depth in depths]
    for i, ref, depth in track(pairs, "tasks × tasks"):
        found = task_similarity(states.of_tasks(ref, depth))
        for name in MEASURES:
            values[name][i, depth] = getattr(found, name).to(torch.float32)
    return TaskMaps(
        tuple(str(ref.role) for ref in compared),
        tuple(depths),
        tuple(spec.name for spec in specs),
        tuple(spec.cluster for spec in specs),
        states.pooling,
        states.n,
        values,
    )


def _scatter(config: ProbeConfig, states: MatchedStates, ref: ModelRef, layer: int) -> Scatter:
    kept = [rows[: states.n_points] for rows in states.of_tasks(ref, layer)]
    together = torch.cat(kept)
    if config.report.paper_figures.projection == "tsne":
        found = tsne(together, seed=stable_seed(config.seed, "t-SNE", str(layer)) % 2**32)
    else:
        found = pca(together)
    points = tuple((_to_draw(x), _to_draw(y)) for x, y in found.points.tolist())
    return Scatter(str(ref.role), layer, points, found.shares)


def _to_draw(value: float) -> float:
    """Five digits: more are not seen, and make a large file."""
    return float(f"{value:.5g}")


def _geometry(
    config: ProbeConfig,
    states: MatchedStates,
    study: Study,
    table: LayerTable,
) -> LayerTable:
    """The rows of the table, if it has them for every model; else measured here."""
    name = pooled_name(DIMENSIONS, states.pooling)
    known = table.where(kind="geometry", name=name)
    wanted = {str(ref.role) for spec in states.specs for ref in _measured(study, spec)}
    if wanted <= set(known.unique("role")):
        return known
    return LayerTable(
        Row(
            model=ref.name,
            role=str(ref.role),
            task=spec.name,
            cluster=spec.cluster,
            depth=depth,
            kind="geometry",
            name=name,
            value=float(dimensions_for_variance(states.of(ref, spec.name, depth))),
            n=states.n,
            seed=config.seed,
        )
        for spec in track(states.specs, "dimensions")
        for ref in _measured(study, spec)
        for depth in range(study.n_blocks + 1)
    )


def _measured(study: Study, spec: TaskSpec) -> Iterator[ModelRef]:
    yield from study.models.compared
    if spec.name in study.models.controls:
        yield study.models.controls[spec.name]


@dataclass(frozen=True, slots=True)
class _Tuning:
    """How many rows of each task the experimental model was tuned on, and on which tasks it was not."""

    rows: Mapping[str, int]
    unseen: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _tuning(config: ProbeConfig, specs: Sequence[TaskSpec]) -> _Tuning:
    run = config.models.experimental
    record = Path(run, "metrics.json") if run is not None else None
    if record is None or not record.is_file():
        why = "training size is not known: models.experimental is no run folder of train.py"
        return _Tuning({}, notes=(why,))
    told = json.loads(record.read_text(encoding="utf-8")).get("tasks", {})
    of_ours = {spec.name: told[spec.name] for spec in specs if spec.name in told}
    unseen = tuple(task for task, about in of_ours.items() if about.get("unseen"))
    rows = {
        task: about["drawn"]["rows"]
        for task, about in of_ours.items()
        if task not in unseen and about.get("drawn")
    }
    if rows and len(set(rows.values())) == 1:
        n = next(iter(rows.values()))
        why = f"training size is {n:,} rows for every task: nothing to correlate with"
        return _Tuning(rows, unseen, (why,))
    return _Tuning(rows, unseen)


def _properties(
    config: ProbeConfig, spec: TaskSpec, examples: ExamplesOf, tuning: _Tuning
) -> dict[str, float]:
    """What figure 6 correlates similarity with."""
    prompts = [
        example.prompt
        for split in config.similarity.splits
        for example in examples(spec, Split(split))
    ]
    size = float(tuning.rows.get(spec.name, np.nan))
    return {**readability(prompts), "training_size": size}


def _correlations(
    config: ProbeConfig,
    study: Study,
    table: LayerTable,
    properties: dict[str, dict[str, float]],
    pooling: str,
) -> tuple[Correlation, ...]:
    found = []
    for role in (Role(ref.role) for ref in study.models.compared):
        shown = similarity_grid(table, role, pooled_name(MEASURE, pooling))
        for name in next(iter(properties.values())):
            values = np.array([properties[task][name] for task in shown.tasks])
            for column, layer in enumerate(shown.layers):
                seed = stable_seed(config.seed, str(role), name, str(layer))
                n_permutations = config.report.paper_figures.n_permutations
                tested = spearman(
                    values, shown.values[:, column], n_permutations=n_permutations, seed=seed
                )
                found.append(
                    Correlation(
                        str(role), name, layer, tested.rho, tested.p, float("nan"), tested.n
                    )
                )
    q = benjamini_hochberg(np.array([one.p for one in found]))
    return tuple(replace(one, q=float(value)) for one, value in zip(found, q, strict=True))


def _agreements(config: ProbeConfig, maps: TaskMaps) -> tuple[Agreement, ...]:
    found = []
    n_permutations = min(AGREEMENT_PERMUTATIONS, config.report.paper_figures.n_permutations)
    for role in maps.roles:
        for measure in MEASURES:
            for layer in maps.depths[1:]:
                one = cluster_agreement(
                    maps.at(measure, role, layer).double().numpy(),
                    maps.clusters,
                    n_permutations=n_permutations,
                    seed=stable_seed(config.seed, role, measure, str(layer)),
                )
                found.append(
                    Agreement(
                        role=role,
                        measure=measure,
                        layer=layer,
                        silhouette=one.silhouette,
                        silhouette_p=one.silhouette_p,
                        silhouette_q=float("nan"),
                        adjusted_rand=one.adjusted_rand,
                        adjusted_rand_p=one.adjusted_rand_p,
                        adjusted_rand_q=float("nan"),
                        by_cluster=one.by_cluster,
                    )
                )
    q = [
        benjamini_hochberg(np.array([getattr(one, name) for one in found]))
        for name in ("silhouette_p", "adjusted_rand_p")
    ]
    return tuple(
        replace(one, silhouette_q=float(a), adjusted_rand_q=float(b))
        for one, a, b in zip(found, *q, strict=True)
    )
