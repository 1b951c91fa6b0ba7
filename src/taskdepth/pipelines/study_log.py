"""The W&B runs of one probe.py command: one per model and stage, in one group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from taskdepth.config import ProbeConfig
from taskdepth.pipelines.study import Study
from taskdepth.results import layer_log, lineage, tracking
from taskdepth.results.findings import Findings
from taskdepth.results.gain import gain_grid
from taskdepth.results.table import LayerTable
from taskdepth.results.tracking import Part

STAGE_OF_KIND = {
    "probe": "probe",
    "similarity": "compare",
    "geometry": "describe",
    "weights": "weigh",
}


class StudyLog:
    """Opens a run for what was done and closes it again; every run is named after the study and its part.

    `rows` are those that the study reads, by task and split.
    """

    def __init__(
        self, config: ProbeConfig, folder: Path, study: Study, rows: lineage.RowsRead
    ) -> None:
        self._config = config
        self._folder = folder
        self._study = study
        self._rows = rows

    @contextmanager
    def extraction(self) -> Iterator[None]:
        """Around the extract stage: all models of a base are read together, so this is one run."""
        with self._run(Part("extract")) as run:
            yield
            if run is None:
                return
            for artifact in self._sources():
                lineage.use(run, artifact)
            run.log_artifact(self._activations())

    def measured(self, table: LayerTable) -> None:
        """A run for each model and kind of value: curves, and heat maps of single tasks."""
        for kind, stage in STAGE_OF_KIND.items():
            for role in table.where(kind=kind).unique("role"):
                rows = table.where(kind=kind, role=role)
                with self._run(Part(stage, role)) as run:
                    if run is None:
                        return
                    lineage.use(run, self._activations())
                    layer_log.log_series(run, rows)
                    for title, shown in layer_log.heat_maps(rows).items():
                        layer_log.log_heat_map(run, title, shown)

    def found(
        self,
        table: LayerTable,
        findings: Findings,
        pictures: Mapping[str, Path],
        files: Sequence[Path],
        objective: float | None,
    ) -> None:
        """The run of the study as a whole: all rows, figures, differences, and the findings to take away."""
        with self._run(Part(tracking.FINDINGS)) as run:
            if run is None:
                return
            run.notes = "\n".join(findings.lines)
            lineage.use(run, self._activations())
            layer_log.log_rows(run, table)
            tracking.log_pictures(run, pictures)
            gain = gain_grid(table)
            if gain is not None:
                layer_log.log_heat_map(run, "similarity gain of the experimental model", gain)
            for number, line in enumerate(findings.lines, start=1):
                run.summary[f"finding_{number}"] = line
            run.summary["objective"] = objective
            run.summary["blocks"] = list(findings.blocks)
            run.summary["boundaries"] = list(findings.boundaries)
            about = {"lines": list(findings.lines), "blocks": list(findings.blocks)}
            name = f"findings-{self._config.name}"
            run.log_artifact(lineage.files_artifact(name, "findings", files, about))
            # by itself too: this is the file that a later train.py reads
            selection = [path for path in files if path.name == "selection.yaml"]
            name = f"selection-{self._config.name}"
            run.log_artifact(lineage.files_artifact(name, "selection", selection, about))

    @contextmanager
    def _run(self, part: Part) -> Iterator[Any]:
        with tracking.tracked(
            self._config.logger,
            self._folder,
            part=part,
            name=self._config.name,
            config=asdict(self._config),
            suffixed=True,
        ) as run:
            yield run

    def _sources(self) -> Iterator[Any]:
        """The data and the models of the study."""
        data = self._config.data
        about = {"source": data.name, "path": data.path, "seed": self._config.seed}
        yield lineage.data_artifact(data.name, self._rows, about)
        models = self._study.models
        for ref in models.probed:
            yield lineage.model_artifact(ref.name, ref.adapter or self._study.base_folder(ref))
        if models.controls and self._config.models.controls is not None:
            folder = Path(self._config.models.controls)
            yield lineage.folder_artifact(folder.resolve().name, "model", folder / "controls")

    def _activations(self) -> Any:
        about = asdict(self._config.extraction)
        return lineage.activations_artifact(self._config.name, self._study.manifests(), about)
