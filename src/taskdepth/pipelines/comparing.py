"""The compare stage: models against the control model of every task, at every depth, and by themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth import ranks, terminal
from taskdepth.activations.pooling import Pooling
from taskdepth.config import ProbeConfig, SimilarityConfig
from taskdepth.pipelines.describing import geometry_rows
from taskdepth.pipelines.mapping import depth_maps
from taskdepth.pipelines.study import Study
from taskdepth.results.depth_maps import DepthMap, DepthMaps, mean_over_tasks
from taskdepth.results.table import Row, pooled_name
from taskdepth.results.undefined import Undefined
from taskdepth.seeds import stable_seed
from taskdepth.similarity.comparison import BY_GRAMS, compare, join
from taskdepth.similarity.estimate import Estimate
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import ModelRef, Role, Split

STANDARDISED = "standardised"
NOTHING_WITHOUT_ONE = "without one example there are too few, or they are all the same"
MIN_INFLUENCE = 0.05  # of one example, from which on it is named


@dataclass(frozen=True, slots=True)
class Influential:
    """An example without which a similarity is another; `influence` None: without it there is none."""

    task: str
    role: str
    model: str
    name: str
    depth: int
    value: float
    influence: float | None
    example_id: str


@dataclass(slots=True)
class Found:
    """All that the compare stage leaves. `rows` and `undefined` are by kind of row."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {"similarity": [], "geometry": []})
    undefined: dict[str, list[Undefined]] = field(
        default_factory=lambda: {"similarity": [], "geometry": [], "depth_maps": []}
    )
    maps: list[DepthMap] = field(default_factory=list)
    influential: list[Influential] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """What another task came to."""
        for kind, rows in other.rows.items():
            self.rows[kind] += rows
        for kind, undefined in other.undefined.items():
            self.undefined[kind] += undefined
        self.maps += other.maps
        self.influential += other.influential

    def depth_maps(self, of_tasks: bool) -> DepthMaps:
        """The means over tasks, and those of single tasks if asked for."""
        return DepthMaps([*mean_over_tasks(self.maps), *(self.maps if of_tasks else ())])


def compare_all(config: ProbeConfig, specs: Sequence[TaskSpec], study: Study) -> Found:
    """Every measure, description and map that `config.similarity` asks for; tasks are dealt over the ranks."""

    def compare_share(share: list[int]) -> list[Found]:
        own = [(specs[i].name, specs[i]) for i in share]
        return [
            _compare_task(config, study, spec) for spec in terminal.tracked(own, "compare", "tasks")
        ]

    # products of all pairs of rows
    costs = [float(study.n_rows(spec.name, config.similarity.splits)) ** 2 for spec in specs]
    found = Found()
    for of_task in ranks.in_shares(costs, compare_share):
        found.add(of_task)
    return found


def _compare_task(config: ProbeConfig, study: Study, spec: TaskSpec) -> Found:
    found = Found()
    for name in config.similarity.poolings:
        _compare_one(config, study, spec, Pooling(name), found)
    return found


def _compare_one(
    config: ProbeConfig, study: Study, spec: TaskSpec, pooling: Pooling, found: Found
) -> None:
    """One task and one pooling; each model's states are read once."""
    settings = config.similarity
    control = study.models.controls[spec.name]
    ids, read = _reader(config, study, spec, pooling)
    y = read(control)
    against = study.models.against_control(spec.name)
    mapped = {control: y}
    for ref in study.models.of_task(spec.name):
        x = y if ref == control else read(ref)
        rows, undefined = geometry_rows(settings.geometry, ref, spec, pooling, x, config.seed)
        found.rows["geometry"] += rows
        found.undefined["geometry"] += undefined
        if ref in against:
            _compare_two(config, spec, ref, pooling, ids, x, y, found)
        if ref in study.models.compared:
            mapped[ref] = x
    if settings.depth_maps != "none":
        order = [*study.models.compared, control]
        maps, undefined = depth_maps({ref: mapped[ref] for ref in order}, spec, pooling)
        found.maps += maps
        found.undefined["depth_maps"] += undefined


def _reader(
    config: ProbeConfig, study: Study, spec: TaskSpec, pooling: Pooling
) -> tuple[list[str], Callable[[ModelRef], Float[Tensor, "n_depths n d_model"]]]:
    """Which examples are compared, and what reads a model's states of them, in that order."""
    settings = config.similarity
    ids = _stored_ids(settings, study, study.models.controls[spec.name], spec)
    if settings.match_n:
        n = min(study.n_rows(task, settings.splits) for task in study.models.controls)
        order = torch.Generator().manual_seed(stable_seed(config.seed, spec.name, "match_n"))
        ids = [ids[i] for i in torch.randperm(len(ids), generator=order)[:n].sort().values]

    def read(ref: ModelRef) -> Float[Tensor, "n_depths n d_model"]:
        parts = [study.read(ref, spec.name, Split(split)) for split in settings.splits]
        _, rows = join(ids, [name for part in parts for name in part.example_ids])
        return torch.cat([part.states[pooling] for part in parts], dim=1)[:, rows]

    return ids, read


def _stored_ids(
    settings: SimilarityConfig, study: Study, ref: ModelRef, spec: TaskSpec
) -> list[str]:
    stored = [study.open(ref, spec.name, Split(split)) for split in settings.splits]
    return [name for part in stored for name in part.example_ids]


def _compare_two(
    config: ProbeConfig,
    spec: TaskSpec,
    ref: ModelRef,
    pooling: Pooling,
    ids: Sequence[str],
    x: Float[Tensor, "n_depths n d_model"],
    y: Float[Tensor, "n_depths n d_model"],
    found: Found,
) -> None:
    settings = config.similarity
    for standardise in (False, True)[: 1 + settings.standardise]:
        compared = compare(
            x,
            y,
            settings.measures,
            standardise=standardise,
            n_bootstrap=settings.n_bootstrap,
            n_shuffles=settings.n_shuffles,
            seed=stable_seed(config.seed, spec.name, "similarity"),
        )
        for measure, estimate in compared.estimates.items():
            name = f"{measure}_{STANDARDISED}" if standardise else measure
            about = Row(
                model=ref.name,
                role=str(ref.role),
                task=spec.name,
                cluster=spec.cluster,
                depth=0,
                kind="similarity",
                name=name,
                value=math.nan,
                n=compared.n,
                seed=config.seed,
                reference=str(Role.CONTROL),
            )
            bounded = measure in BY_GRAMS
            beside = {"shuffled": estimate.shuffled} if settings.n_shuffles else {}
            if bounded:
                beside["influence"] = estimate.influence
            found.rows["similarity"] += _rows(about, estimate, pooling, beside, bounded=bounded)
            found.undefined["similarity"] += _undefined(about, estimate, pooling, bounded=bounded)
            found.influential += _influential(about, estimate, pooling, ids)


def _rows(
    about: Row,
    estimate: Estimate,
    pooling: Pooling,
    beside: Mapping[str, Float[Tensor, " n_depths"]],
    *,
    bounded: bool,
) -> Iterator[Row]:
    """The value at each depth, and what stands `beside` it: suffix of the name → values."""
    for depth in range(len(estimate.value)):
        row = replace(about, depth=depth, name=pooled_name(about.name, pooling))
        yield replace(
            row,
            value=float(estimate.value[depth]),
            lower=float(estimate.lower[depth]) if bounded else None,
            upper=float(estimate.upper[depth]) if bounded else None,
        )
        for suffix, values in beside.items():
            name = pooled_name(f"{about.name}_{suffix}", pooling)
            yield replace(row, name=name, value=float(values[depth]))


def _undefined(
    about: Row, estimate: Estimate, pooling: Pooling, *, bounded: bool
) -> Iterator[Undefined]:
    for depth, reason in enumerate(estimate.undefined):
        if reason:
            name = pooled_name(about.name, pooling)
            yield Undefined(about.role, about.task, depth, name, reason)
        elif bounded and estimate.influence[depth].isnan():
            name = pooled_name(f"{about.name}_influence", pooling)
            yield Undefined(about.role, about.task, depth, name, NOTHING_WITHOUT_ONE)


def _influential(
    about: Row, estimate: Estimate, pooling: Pooling, ids: Sequence[str]
) -> Iterator[Influential]:
    """The worst rows that change a value by `MIN_INFLUENCE` or more."""
    for depth, (row, influence) in enumerate(
        zip(estimate.worst_row.tolist(), estimate.influence.tolist(), strict=True)
    ):
        if row >= 0 and not abs(influence) < MIN_INFLUENCE:
            yield Influential(
                task=about.task,
                role=about.role,
                model=about.model,
                name=pooled_name(about.name, pooling),
                depth=depth,
                value=float(estimate.value[depth]),
                influence=None if math.isnan(influence) else influence,
                example_id=ids[row],
            )
