"""`probe.py`: extract, probe, compare, select, report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console

from taskdepth import terminal
from taskdepth.activations.plan import table
from taskdepth.config import STAGES, ProbeConfig
from taskdepth.data.digest import RowDigest
from taskdepth.data.rows import load_and_count
from taskdepth.errors import DataError, ResultsError
from taskdepth.files import write_json
from taskdepth.pipelines.comparing import similarity_rows
from taskdepth.pipelines.extracting import Study, roster
from taskdepth.pipelines.probing import probe_rows
from taskdepth.pipelines.sources import open_source
from taskdepth.pipelines.study_log import StudyLog
from taskdepth.results import tracking
from taskdepth.results.figures import save_all
from taskdepth.results.findings import Findings, summarise
from taskdepth.results.report import write_report
from taskdepth.results.table import LayerTable, Row
from taskdepth.results.undefined import Undefined, digest
from taskdepth.run_directory import RunDirectory
from taskdepth.selection.placement import LayerSelection, select
from taskdepth.selection.regions import detect_regions
from taskdepth.selection.signals import layer_signals
from taskdepth.tasks.spec import Source, TaskSpec, select_tasks
from taskdepth.types import Example, Role, Split

# what each stage leaves in the run folder, for the stages after it
TABLE = "layers.parquet"
SELECTION = "selection.yaml"
UNDEFINED = "undefined.json"
FINDINGS = "findings.json"
ROWS = "rows.json"

RowCounts = dict[str, dict[str, dict[str, int]]]  # task → split → used, inverted


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """`objective` is what a sweep maximises: the mean over tasks of the best layer's label accuracy."""

    run_dir: Path
    objective: float | None
    findings: Findings | None

    def to_json(self) -> dict[str, Any]:
        """For `output=json`."""
        found = {} if self.findings is None else {"findings": asdict(self.findings)}
        return {"run_dir": str(self.run_dir), "objective": self.objective, **found}


def run(config: ProbeConfig) -> ProbeResult:
    """Run `config.stages` in their order and leave tables, selection and report in the run folder.

    Raises:
        TaskdepthError: settings, data, models or earlier results cannot be used.
    """
    start_s = time.perf_counter()
    console = terminal.set_up(config.output)
    source = open_source(config.data, config.seed)
    specs = select_tasks(source.specs(), config.tasks)
    counts: RowCounts = {}
    examples = _examples(config, source, counts)
    _check_rows(config, specs, examples)
    study = Study(config, specs, roster(config, specs), examples)
    if config.extraction.plan:
        costs, rate = study.plan()
        console.print(table(costs, rate, config.paths.activations), soft_wrap=False)
        return ProbeResult(Path(config.paths.run_dir), None, None)
    reopen = set(config.stages) != set(STAGES)
    directory = RunDirectory(Path(config.paths.run_dir), config, FINDINGS, reopen=reopen)
    _tell_left_out(directory, counts, source.skipped(), console)
    stages = [stage for stage in STAGES if stage in config.stages]
    if "extract" not in stages and {"probe", "compare"} & set(stages) and study.missing():
        raise ResultsError("there are prompts without activations: run the extract stage first")
    log = StudyLog(config, directory.path, study, _read(specs, examples))
    if "extract" in stages:
        with log.extraction():
            n_rows = study.extract()
        console.print(
            f"extracted {n_rows} prompts × {study.n_blocks + 1} depths"
            if n_rows
            else "extracted already"
        )
    if "probe" in stages:
        rows, undefined = probe_rows(config, specs, study, examples)
        _replace(directory, "probe", rows, undefined)
    if "compare" in stages:
        rows, undefined = similarity_rows(config, specs, study)
        _replace(directory, "similarity", rows, undefined)
    if "select" in stages:
        _select(config, study, directory, console)
    findings = _report(config, directory, log) if "report" in stages else None
    result = ProbeResult(directory.path, _objective(directory), findings)
    _tell(config, result, time.perf_counter() - start_s, console)
    return result


def finished(config: ProbeConfig) -> ProbeResult | None:
    """What an earlier run with these settings came to; None where there is none that is complete."""
    run_dir = Path(config.paths.run_dir)
    if not RunDirectory.is_finished(run_dir, config, FINDINGS):
        return None
    return ProbeResult(run_dir, _objective(run_dir), None)


def _tell(config: ProbeConfig, result: ProbeResult, seconds: float, console: Console) -> None:
    """What was found, where things are, and what to do with them."""
    if result.findings is not None:
        terminal.say_sentences(console, result.findings.lines)
    folder = terminal.shown(result.run_dir)
    found: dict[str, object] = {"run": folder}
    for name in ("report.html", TABLE, SELECTION):
        if (result.run_dir / name).is_file():
            found[name.partition(".")[0]] = f"{folder}/{name}"
    if tracking.is_tracking(config.logger):
        found["W&B"] = tracking.where(config.logger, result.run_dir)
    if "selection" in found:
        found["next"] = f"python train.py adapter=lora adapter.blocks_from={found['selection']} …"
    terminal.say_results(console, f"done in {terminal.duration(seconds)}", found)


def _examples(config: ProbeConfig, source: Source, counts: RowCounts) -> Any:
    """The rows of a task's split, read once; `counts` is told how many there are."""
    limits = {Split(name): limit for name, limit in asdict(config.extraction.max_examples).items()}

    @cache
    def examples(spec: TaskSpec, split: Split) -> list[Example]:
        rows, n_inverted = load_and_count(source, spec, split, limits[split])
        counts.setdefault(spec.name, {})[split] = {"used": len(rows), "inverted": n_inverted}
        return rows

    return examples


def _read(specs: Sequence[TaskSpec], examples: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """Task → split → how many rows take part, and the digest of their content."""
    return {
        spec.name: {
            str(split): {"rows": len(rows), "digest": RowDigest(rows).hex}
            for split in Split
            for rows in [examples(spec, split)]
        }
        for spec in specs
    }


def _tell_left_out(
    directory: RunDirectory,
    counts: RowCounts,
    skipped: Mapping[str, Sequence[str]],
    console: Console,
) -> None:
    """Which rows take part and which do not, in `rows.json`."""
    write_json(directory / ROWS, {"tasks": counts, "skipped": skipped})
    n_inverted = sum(n["inverted"] for splits in counts.values() for n in splits.values())
    n_skipped = sum(map(len, skipped.values()))
    if n_inverted or n_skipped:
        console.print(
            f"left out: {n_inverted} rows of inverted templates, {n_skipped} that cannot be used "
            f"({directory / ROWS})"
        )


def _check_rows(config: ProbeConfig, specs: Sequence[TaskSpec], examples: Any) -> None:
    """Empty splits and single labels are told before a model is loaded."""
    for spec in specs:
        for split in Split:
            examples(spec, split)
        labels = {e.label for e in examples(spec, Split.TRAIN) if e.label is not None}
        if spec.labels and len(labels) < 2 and "label" in config.probe.targets:
            raise DataError(
                f"task {spec.name} has one label only ({', '.join(labels) or 'none'}) in its training rows: "
                "leave it out of tasks, or label out of probe.targets"
            )


def _replace(
    directory: RunDirectory, kind: str, rows: Sequence[Row], undefined: Sequence[Undefined]
) -> None:
    """Put `rows` in the place of the table's rows of this kind."""
    path = directory / TABLE
    kept = [row for row in LayerTable.read(path) if row.kind != kind] if path.exists() else []
    LayerTable([*kept, *rows]).write(path)
    noted = directory.read(UNDEFINED) if (directory / UNDEFINED).exists() else {}
    write_json(directory / UNDEFINED, {**noted, kind: digest(undefined)})


def _select(config: ProbeConfig, study: Study, directory: RunDirectory, console: Console) -> None:
    settings = config.selection
    gain, regions = None, None
    if settings.policy != "manual":
        signals = layer_signals(LayerTable.read(directory / TABLE))
        gain = signals.gain
        regions = detect_regions(
            signals.values, settings.n_regions, resampled=signals.resampled, seed=config.seed
        )
    selection = select(
        settings.policy,
        study.n_blocks,
        study.models.compared[0].name,
        regions,
        gain,
        region=settings.region,
        k=settings.k,
        blocks=settings.blocks or (),
    )
    selection.write(directory / SELECTION)
    console.print(f"adapters belong into blocks {list(selection.blocks)}: {selection.reason}")


def _report(config: ProbeConfig, directory: RunDirectory, log: StudyLog) -> Findings:
    table = LayerTable.read(directory / TABLE)
    selection = (
        LayerSelection.read(directory / SELECTION) if (directory / SELECTION).exists() else None
    )
    regions = None if selection is None else selection.regions
    findings = summarise(table, regions, selection)
    pictures = save_all(table, regions, selection, directory / "figures")
    reasons = directory.read(UNDEFINED) if (directory / UNDEFINED).exists() else {}
    write_report(
        directory / "report.html",
        table,
        findings,
        regions,
        selection,
        directory.read("provenance.json"),
        [(what, why) for pairs in reasons.values() for what, why in pairs],
        title=config.report.title,
    )
    log.measured(table)
    files = [directory / name for name in (TABLE, SELECTION, UNDEFINED, "report.html")]
    log.found(table, findings, pictures, files, _objective(directory))
    directory.finish({"lines": findings.lines, "undefined": reasons})
    return findings


def _objective(directory: RunDirectory | Path) -> float | None:
    path = directory / TABLE
    if not path.exists():
        return None
    rows = LayerTable.read(path).where(kind="probe", target="label", name="accuracy")
    best: dict[str, float] = {}
    for row in rows:
        if row.role == Role.RANDOM_INIT:
            continue
        best[row.task] = max(best.get(row.task, 0.0), row.value)
    return mean(best.values()) if best else None
