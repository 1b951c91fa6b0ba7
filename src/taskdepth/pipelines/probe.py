"""`probe.py`: extract, probe, compare, select, report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console

from taskdepth.activations.memory import MemoryStore
from taskdepth.activations.plan import table
from taskdepth.activations.store import ActivationStore
from taskdepth.config import STAGES, ProbeConfig
from taskdepth.data.rows import load_and_count
from taskdepth.errors import DataError
from taskdepth.files import write_json
from taskdepth.pipelines.bases import Bases
from taskdepth.pipelines.comparing import Found, compare_all
from taskdepth.pipelines.extracting import Study, roster
from taskdepth.pipelines.paper import draw_paper_figures
from taskdepth.pipelines.probing import probe_rows
from taskdepth.pipelines.sources import open_source
from taskdepth.pipelines.streaming import through_memory
from taskdepth.pipelines.weighing import weight_rows
from taskdepth.report.page import write_page
from taskdepth.report.study import read_study
from taskdepth.results import tracking
from taskdepth.results.depth_map_figure import save_depth_maps
from taskdepth.results.figures import save_all
from taskdepth.results.findings import Findings, summarise
from taskdepth.results.table import LayerTable, Row
from taskdepth.results.undefined import Undefined, digest
from taskdepth.run_directory import RunDirectory, opened
from taskdepth.selection.placement import LayerSelection
from taskdepth.selection.policies import select
from taskdepth.selection.regions import detect_regions
from taskdepth.selection.signals import layer_signals
from taskdepth.tasks.spec import Source, TaskSpec, select_tasks
from taskdepth.types import Example, Role, Split

# what each stage leaves in the run folder, for the stages after it
TABLE = "layers.parquet"
SELECTION = "selection.yaml"
UNDEFINED = "undefined.json"
DEPTH_MAPS = "depth_maps.parquet"
INFLUENTIAL = "influential_examples.json"
FINDINGS = "findings.json"
ROWS = "rows.json"

RowCounts = dict[str, dict[str, dict[str, int]]]  # task → split → used, inverted


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """`objective` is what a sweep maximises: the mean over tasks of the best layer's label accuracy."""

    run_dir: Path
    objective: float | None
    findings: Findings | None


def run(config: ProbeConfig) -> ProbeResult:
    """Run `config.stages` in their order and leave tables, selection and report in the run folder.

    Raises:
        TaskdepthError: settings, data, models or earlier results cannot be used.
    """
    with ExitStack() as held:
        return _run(config, held)


def _run(config: ProbeConfig, held: ExitStack) -> ProbeResult:
    start_s = time.perf_counter()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    source = open_source(config.data, config.seed)
    specs = select_tasks(source.specs(), config.tasks)
    counts: RowCounts = {}
    examples = _examples(config, source, counts)
    _check_rows(config, specs, examples)
    bases = Bases(config)
    store = _store(config)
    study = Study(config, specs, roster(config, specs), examples, bases, store)
    if config.extraction.plan:
        costs, rate = study.plan()
        console.print(table(costs, rate, config.paths.activations))
        return ProbeResult(Path(config.paths.run_dir), None, None)
    reopen = set(config.stages) != set(STAGES)
    directory = held.enter_context(
        opened(Path(config.paths.run_dir), config, FINDINGS, reopen=reopen)
    )
    _tell_left_out(directory, counts, source.skipped(), console)
    stages = [stage for stage in STAGES if stage in config.stages]
    if isinstance(store, MemoryStore):
        if "extract" in stages:
            passed = through_memory(config, specs, study, examples, bases, store, directory.path)
            _replace(directory, "probe", passed.probes, passed.undefined)
            if "compare" in stages:
                _keep(config, passed.found, directory)
        stages = [stage for stage in stages if stage not in ("extract", "probe", "compare")]
    if "extract" in stages:
        n_rows = study.extract()
        bases.release()
        console.print(
            f"extracted {n_rows} prompts × {study.n_blocks + 1} depths"
            if n_rows
            else "extracted already"
        )
    if "probe" in stages:
        rows, undefined = probe_rows(config, specs, study, examples)
        _replace(directory, "probe", rows, undefined)
    if "compare" in stages:
        _compare(config, specs, study, directory)
    if "compare" in config.stages and config.weights.enabled:
        rows, undefined = weight_rows(config.weights, specs, study.models, bases)
        bases.release()
        _replace(directory, "weights", rows, undefined)
    if "select" in stages:
        _select(config, study, directory, console)
    findings = None
    if "report" in stages:
        pictures: dict[str, Path] = {}
        if config.report.paper_figures.enabled:
            table_so_far = LayerTable.read(directory / TABLE)
            pictures, notes = draw_paper_figures(
                config, specs, study, examples, table_so_far, directory.path
            )
            for line in notes:
                console.print(f"paper figures: {line}")
        findings = _report(config, directory, console, pictures)
    console.print(f"done in {time.perf_counter() - start_s:.0f} s: {directory.path}")
    return ProbeResult(directory.path, _objective(directory), findings)


def _store(config: ProbeConfig) -> ActivationStore | MemoryStore:
    if config.extraction.keep == "none":
        return MemoryStore()
    return ActivationStore(Path(config.paths.activations), dtype=config.extraction.store_dtype)


def _examples(config: ProbeConfig, source: Source, counts: RowCounts) -> Any:
    """The rows of a task's split, read once; `counts` is told how many there are."""
    limits = {Split(name): limit for name, limit in asdict(config.extraction.max_examples).items()}

    @cache
    def examples(spec: TaskSpec, split: Split) -> list[Example]:
        rows, n_inverted = load_and_count(source, spec, split, limits[split])
        counts.setdefault(spec.name, {})[split] = {"used": len(rows), "inverted": n_inverted}
        return rows

    return examples


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
    _note(directory, kind, undefined)


def _note(directory: RunDirectory, kind: str, undefined: Sequence[Undefined]) -> None:
    noted = directory.read(UNDEFINED) if (directory / UNDEFINED).exists() else {}
    write_json(directory / UNDEFINED, {**noted, kind: digest(undefined)})


def _compare(
    config: ProbeConfig, specs: Sequence[TaskSpec], study: Study, directory: RunDirectory
) -> None:
    _keep(config, compare_all(config, specs, study), directory)


def _keep(config: ProbeConfig, found: Found, directory: RunDirectory) -> None:
    for kind, rows in found.rows.items():
        _replace(directory, kind, rows, found.undefined[kind])
    _note(directory, "depth_maps", found.undefined["depth_maps"])
    (directory / DEPTH_MAPS).unlink(missing_ok=True)
    if config.similarity.depth_maps != "none":
        found.depth_maps(of_tasks=config.similarity.depth_maps == "tasks").write(
            directory / DEPTH_MAPS
        )
    write_json(directory / INFLUENTIAL, [asdict(example) for example in found.influential])


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


def _report(
    config: ProbeConfig, directory: RunDirectory, console: Console, more: Mapping[str, Path]
) -> Findings:
    """Findings, figures, page and log; the pictures in `more` are logged too."""
    table = LayerTable.read(directory / TABLE)
    selection = (
        LayerSelection.read(directory / SELECTION) if (directory / SELECTION).exists() else None
    )
    regions = None if selection is None else selection.regions
    findings = summarise(table, regions, selection)
    pictures = save_all(table, regions, selection, directory / "figures")
    pictures |= save_depth_maps(directory / DEPTH_MAPS, directory / "figures")
    reasons = directory.read(UNDEFINED) if (directory / UNDEFINED).exists() else {}
    study = read_study(directory.path, config.name)
    write_page(directory / "report.html", [study], config.report.title)
    with tracking.tracked(
        config.logger, directory.path, job_type="probe", name=config.name, config=asdict(config)
    ) as wandb_run:
        if wandb_run is not None:
            tracking.log_layers(wandb_run, table)
            tracking.log_pictures(wandb_run, {**pictures, **more})
            files = [directory / name for name in (TABLE, DEPTH_MAPS, SELECTION, "report.html")]
            tracking.log_artifact(
                wandb_run, "findings", "findings", files, {"lines": list(findings.lines)}
            )
        tracking.say_where(wandb_run, console)
    directory.finish({"lines": findings.lines, "undefined": reasons})
    for line in findings.lines:
        console.print(f"  • {line}")
    console.print(f"report: {directory / 'report.html'}")
    return findings


def _objective(directory: RunDirectory) -> float | None:
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
