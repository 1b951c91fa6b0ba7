"""What a layer table says: the numbers of a run, and five sentences about them.

Everything here is about layers (depths >= 1); depth 0, the embeddings, stays in the table.
"""

from __future__ import annotations

from dataclasses import dataclass

from taskdepth.results import sentences
from taskdepth.results.finding_numbers import (
    Gain,
    IdentityFinding,
    LabelFinding,
    SimilarityFinding,
    Yardstick,
    gain_of,
    identity_of,
    labels_of,
    similarity_of,
    yardstick_of,
)
from taskdepth.results.layer_grid import COMPARED
from taskdepth.results.regions import Placement, Regions
from taskdepth.results.table import LayerTable
from taskdepth.types import Role


@dataclass(frozen=True, slots=True)
class Findings:
    """The numbers of a run, and the five sentences (`lines`) that say them; six with yardsticks.

    None and empty: not measured, or undefined everywhere. Where both models were measured, the
    experimental one comes first.
    """

    n_tasks: int
    n_clusters: int
    n_layers: int
    roles: tuple[Role, ...]
    n_controls: int
    identity: IdentityFinding | None
    labels: tuple[LabelFinding, ...]
    similarity: tuple[SimilarityFinding, ...]
    gain: Gain | None
    ceiling: Yardstick | None
    foil: Yardstick | None
    boundaries: tuple[int, ...]
    blocks: tuple[int, ...]
    lines: tuple[str, ...]


def summarise(
    table: LayerTable, regions: Regions | None = None, selection: Placement | None = None
) -> Findings:
    """Read the numbers of the summary off the table; a line says so where something is missing."""
    roles = tuple(role for role in COMPARED if table.where(role=role))
    # the recall of a cluster is about no single task, whatever its row says
    n_tasks = len({row.task for row in table if row.target != "cluster"} - {"all"})
    n_clusters = len({row.cluster for row in table} - {"all"})
    controlled = table.where(kind="similarity", reference=Role.CONTROL)
    n_controls = len(controlled.unique("task"))
    asked = roles[::-1]
    identity = next(filter(None, (identity_of(table, role) for role in asked)), None)
    labels = tuple(filter(None, (labels_of(table, role) for role in asked)))
    similarity = tuple(filter(None, (similarity_of(table, role) for role in asked)))
    gain = gain_of(table)
    ceiling, foil = (yardstick_of(table, role, asked) for role in (Role.CEILING, Role.FOIL))
    return Findings(
        n_tasks=n_tasks,
        n_clusters=n_clusters,
        n_layers=table.n_blocks,
        roles=roles,
        n_controls=n_controls,
        identity=identity,
        labels=labels,
        similarity=similarity,
        gain=gain,
        ceiling=ceiling,
        foil=foil,
        boundaries=tuple(regions.boundaries) if regions and regions.found else (),
        blocks=tuple(selection.blocks) if selection else (),
        lines=(
            sentences.measured(n_tasks, n_clusters, table.n_blocks, roles, n_controls),
            sentences.identity(identity),
            sentences.labels(labels),
            sentences.similarity(similarity, gain, measured=len(controlled) > 0),
            *([sentences.yardsticks(ceiling, foil)] if ceiling or foil else []),
            sentences.placement(regions, selection),
        ),
    )
