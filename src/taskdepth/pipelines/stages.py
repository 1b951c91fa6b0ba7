"""The stages of a study, each on what the ones before it left in the run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from taskdepth import ranks
from taskdepth.activations.memory import MemoryStore
from taskdepth.activations.store import ActivationStore
from taskdepth.config import ProbeConfig
from taskdepth.files import write_json
from taskdepth.pipelines.bases import Bases
from taskdepth.pipelines.comparing import compare_all
from taskdepth.pipelines.paper import draw_paper_figures
from taskdepth.pipelines.probing import probe_rows
from taskdepth.pipelines.selecting import select_blocks
from taskdepth.pipelines.streaming import through_memory
from taskdepth.pipelines.study import Study
from taskdepth.pipelines.study_examples import StudyExamples
from taskdepth.pipelines.study_folder import (
    DEPTH_MAPS,
    REGIONS,
    SELECTION,
    TABLE,
    UNDEFINED,
    objective,
    put_comparison,
    put_rows,
)
from taskdepth.pipelines.study_log import StudyLog
from taskdepth.pipelines.weighing import weight_rows
from taskdepth.report.page import write_page
from taskdepth.report.study import read_study
from taskdepth.results.depth_map_figure import save_depth_maps
from taskdepth.results.figures import save_all
from taskdepth.results.findings import Findings
from taskdepth.results.table import LayerTable
from taskdepth.run_directory import RunDirectory
from taskdepth.tasks.spec import TaskSpec


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of one study: what they work on, and where they leave what they find.

    All ranks extract, probe and compare, and the first one writes; the other stages are the first one's alone.
    """

    config: ProbeConfig
    specs: Sequence[TaskSpec]
    examples: StudyExamples
    bases: Bases
    store: ActivationStore | MemoryStore
    study: Study
    directory: RunDirectory
    log: StudyLog
    console: Console

    def measure(self, asked: Sequence[str]) -> None:
        """Extract, probe and compare, as far as `asked`: task by task where no states are kept."""
        if isinstance(self.store, MemoryStore):
            if "extract" in asked:
                self._through_memory(self.store, compare="compare" in asked)
            return
        if "extract" in asked:
            self._extract()
        if "probe" in asked:
            rows, undefined = probe_rows(self.config, self.specs, self.study, self.examples)
            if ranks.is_first():
                put_rows(self.directory, "probe", rows, undefined)
        if "compare" in asked:
            found = compare_all(self.config, self.specs, self.study)
            if ranks.is_first():
                put_comparison(self.directory, self.config, found)

    def weigh(self) -> None:
        """What tuning did to the weights, block by block."""
        rows, undefined = weight_rows(
            self.config.weights, self.specs, self.study.models, self.bases
        )
        self.bases.release()
        put_rows(self.directory, "weights", rows, undefined)

    def select(self) -> None:
        """Find regions, and choose the blocks for an adapter."""
        found = select_blocks(self.config, self.specs, self.study, self.examples, self._table)
        found.selection.write(self.directory / SELECTION)
        write_json(self.directory / REGIONS, found.to_json())
        self.console.print(
            f"adapters belong into blocks {list(found.selection.blocks)}: {found.selection.reason}"
        )

    def report(self) -> Findings:
        """Findings, figures, page and log; they mark the run as complete."""
        directory, log = self.directory, self.log
        more = self._paper_figures()
        study = read_study(directory.path, self.config.name)
        table, findings = study.table, study.findings
        write_page(directory / "report.html", [study], self.config.report.title)
        pictures = save_all(table, study.regions, study.selection, directory / "figures")
        pictures |= save_depth_maps(directory / DEPTH_MAPS, directory / "figures")
        reasons = directory.read(UNDEFINED) if (directory / UNDEFINED).exists() else {}
        log.measured(table)
        names = (TABLE, DEPTH_MAPS, SELECTION, UNDEFINED, "report.html")
        files = [path for name in names if (path := directory / name).is_file()]
        log.found(table, findings, {**pictures, **more}, files, objective(directory.path))
        found = directory.read(REGIONS) if (directory / REGIONS).exists() else None
        directory.finish({"lines": findings.lines, "undefined": reasons, "regions": found})
        return findings

    def _through_memory(self, store: MemoryStore, *, compare: bool) -> None:
        passed = through_memory(
            self.config,
            self.specs,
            self.study,
            self.examples,
            self.bases,
            store,
            self.directory.path,
        )
        put_rows(self.directory, "probe", passed.probes, passed.undefined)
        if compare:
            put_comparison(self.directory, self.config, passed.found)

    def _extract(self) -> None:
        with self.log.extraction():
            n_rows = self.study.extract()
        self.bases.release()
        self.console.print(
            f"extracted {n_rows} prompts × {self.study.n_blocks + 1} depths"
            if n_rows
            else "extracted already"
        )

    def _paper_figures(self) -> Mapping[str, Path]:
        """The paper's figures, if they are asked for: name → PNG."""
        if not self.config.report.paper_figures.enabled:
            return {}
        pictures, notes = draw_paper_figures(
            self.config, self.specs, self.study, self.examples, self._table(), self.directory.path
        )
        for line in notes:
            self.console.print(f"paper figures: {line}")
        return pictures

    def _table(self) -> LayerTable:
        return LayerTable.read(self.directory / TABLE)
