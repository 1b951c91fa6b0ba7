"""The select stage: regions of all tasks and of each cluster, and the blocks that a policy chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from taskdepth.config import ProbeConfig
from taskdepth.data.tokenise import TokenisedRow
from taskdepth.errors import ConfigError
from taskdepth.models import loading
from taskdepth.pipelines.placing import calibration_rows, model_scores, needed, table_evidence
from taskdepth.pipelines.study import ExamplesOf, Study
from taskdepth.results.table import LayerTable
from taskdepth.selection.placement import LayerSelection
from taskdepth.selection.policies import MODEL_SCORES, TABLE_SCORES, Evidence, choose
from taskdepth.selection.regions import Regions, detect_regions
from taskdepth.selection.signals import layer_signals
from taskdepth.tasks.spec import TaskSpec
from taskdepth.types import Role, Split

SCHEMA_VERSION = 1  # of regions.json
CALIBRATION_ROWS = 128


@dataclass(frozen=True, slots=True)
class Selected:
    """The selection, and the regions that were found; None where the policy did not look for any."""

    selection: LayerSelection
    regions: Regions | None
    clusters: Mapping[str, Regions]

    def to_json(self) -> dict[str, Any]:
        """What `regions.json` and `findings.json` say of regions."""
        return {
            "schema": SCHEMA_VERSION,
            "all": None if self.regions is None else asdict(self.regions),
            "clusters": {name: asdict(found) for name, found in self.clusters.items()},
        }


def select_blocks(
    config: ProbeConfig,
    specs: Sequence[TaskSpec],
    study: Study,
    examples: ExamplesOf,
    table_of: Callable[[], LayerTable],
) -> Selected:
    """The blocks that `config.selection.policy` chooses. The table is read if it needs one.

    Raises:
        ResultsError: the table lacks what the policy looks at.
        ConfigError: the policy cannot choose.
    """
    settings = config.selection
    names = needed([settings.policy])
    regions: Regions | None = None
    clusters: dict[str, Regions] = {}
    evidence = Evidence(
        study.n_blocks,
        None,
        settings.region,
        settings.k,
        settings.blocks or (),
        seed=config.seed,
    )
    if names & {"regions", *TABLE_SCORES}:
        table = table_of()
        regions, scores = table_evidence(
            table, names, n_regions=settings.n_regions, seed=config.seed
        )
        clusters = cluster_regions(table, n_regions=settings.n_regions, seed=config.seed)
        evidence = replace(evidence, regions=regions, scores=scores)
    if names & set(MODEL_SCORES):
        evidence = replace(evidence, scores=_scores_of_model(config, specs, study, examples, names))
    model = study.models.compared[0].name
    if settings.policy == "inverse" and regions is not None:
        first = "region" if regions.has(settings.region) else "top_gain"
        evidence = replace(evidence, chosen=choose(first, evidence, model).blocks)
    return Selected(choose(settings.policy, evidence, model), regions, clusters)


def cluster_regions(table: LayerTable, *, n_regions: int | None, seed: int) -> dict[str, Regions]:
    """The regions of each cluster's tasks by themselves, the clusters in the order of the table.

    Each is looked for at the level of `detect_regions`: of a dozen clusters without regions, one in
    nine tables shows one that has some.
    """
    found = {}
    for cluster in table.where(kind="similarity", reference=Role.CONTROL).unique("cluster"):
        if cluster == "all":
            continue
        signals = layer_signals(table.where(cluster=cluster), n_layers=table.n_blocks)
        found[cluster] = detect_regions(
            signals.values,
            n_regions,
            identical=signals.identical,
            resampled=signals.resampled,
            seed=seed,
        )
    return found


def _scores_of_model(
    config: ProbeConfig,
    specs: Sequence[TaskSpec],
    study: Study,
    examples: ExamplesOf,
    names: set[str],
) -> dict[str, Any]:
    """What the pre-trained model says of its blocks, from training rows of all tasks."""
    from peft import LoraConfig

    ref = study.models.compared[0]
    if ref.role is not Role.PRETRAINED:
        raise ConfigError(
            f"policy {config.selection.policy} looks at the pre-trained model: set models.pretrained"
        )
    model = loading.load(
        loading.local_folder(ref.path, config.models.revision),
        dtype=config.extraction.dtype,
        trust_remote_code=config.models.trust_remote_code,
    )
    if config.extraction.accelerator != "cpu" and torch.cuda.is_available():
        model.lm.to("cuda")
    tokeniser = study.tokeniser(ref)
    rows: list[TokenisedRow] = [
        row
        for spec in specs
        for row in tokeniser.rows(examples(spec, Split.TRAIN))
        if row is not None
    ]
    chosen = calibration_rows(rows, CALIBRATION_ROWS, config.seed)
    lora = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear")
    return dict(model_scores(model.lm, names, chosen, lora))
