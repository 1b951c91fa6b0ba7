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

from taskdepth import ranks, terminal
from taskdepth.activations.memory import MemoryStore
from taskdepth.activations.plan import table
from taskdepth.activations.store import ActivationStore
from taskdepth.config import STAGES, ProbeConfig
from taskdepth.data.digest import RowDigest
from taskdepth.data.rows import load_and_count
from taskdepth.errors import DataError, ResultsError
from taskdepth.files import write_json
from taskdepth.pipelines.bases import Bases
from taskdepth.pipelines.comparing import Found, compare_all
from taskdepth.pipelines.paper import check_paper_figures, draw_paper_figures
from taskdepth.pipelines.planning import ACROSS_TASKS
from taskdepth.pipelines.probing import probe_rows
from taskdepth.pipelines.roster import roster
from taskdepth.pipelines.selecting import select_blocks
from taskdepth.pipelines.sources import open_source
from taskdepth.pipelines.streaming import through_memory
from taskdepth.pipelines.study import Study
from taskdepth.pipelines.study_log import StudyLog
from taskdepth.pipelines.weighing import weight_rows
from taskdepth.report.page import write_page
from taskdepth.report.study import read_study
from taskdepth.results import tracking
from taskdepth.results.depth_map_figure import save_depth_maps
from taskdepth.results.figures import save_all
from taskdepth.results.findings import Findings
from taskdepth.results.table import LayerTable, Row
from taskdepth.results.undefined import Undefined, digest
from taskdepth.run_directory import RunDirectory, opened
from taskdepth.tasks.spec import Source, TaskSpec, select_tasks
from taskdepth.types import Example, Role, Split

# what each stage leaves in the run folder, for the stages after it
TABLE = "layers.parquet"
SELECTION = "selection.yaml"
REGIONS = "regions.json"
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

    def to_json(self) -> dict[str, Any]:
        """For `output=json`."""
        found = {} if self.findings is None else {"findings": asdict(self.findings)}
        return {"run_dir": str(self.run_dir), "objective": self.objective, **found}


def run(config: ProbeConfig) -> ProbeResult:
    """Run `config.stages` in their order and leave tables, selection and report in the run folder.

    Raises:
        TaskdepthError: settings, data, models or earlier results cannot be used.
    """
    with ExitStack() as held, ranks.joined(config.extraction.accelerator):
        return _run(config, held)


def _run(config: ProbeConfig, held: ExitStack) -> ProbeResult:
    start_s = time.perf_counter()
    console = terminal.set_up(config.output)
    source = open_source(config.data, config.seed)
    specs = select_tasks(source.specs(), config.tasks)
    counts: RowCounts = {}
    examples = _examples(config, source, counts)
    _check_rows(config, specs, examples)
    bases = Bases(config)
    store = _store(config)
    study = ranks.first_before_others(  # it fetches models that the others find
        lambda: Study(config, specs, roster(config, specs), examples, bases, store)
    )
    if config.report.paper_figures.enabled:
        check_paper_figures(config, specs, study)
    if config.extraction.plan:
        return ranks.first_does(lambda: _tell_plan(config, study, console))
    reopen = set(config.stages) != set(STAGES)
    directory = held.enter_context(
        opened(
            Path(config.paths.run_dir), config, FINDINGS, reopen=reopen, revisions=bases.revisions
        )
    )
    if ranks.is_first():
        _tell_left_out(directory, counts, source.skipped(), console)
    stages = [stage for stage in STAGES if stage in config.stages]
    if "extract" not in stages and {"probe", "compare"} & set(stages) and study.missing():
        raise ResultsError("there are prompts without activations: run the extract stage first")
    log = StudyLog(config, directory.path, study, _read(specs, examples))
    if isinstance(store, MemoryStore):
        if "extract" in stages:
            passed = through_memory(config, specs, study, examples, bases, store, directory.path)
            _replace(directory, "probe", passed.probes, passed.undefined)
            if "compare" in stages:
                _keep(config, passed.found, directory)
        stages = [stage for stage in stages if stage not in ("extract", "probe", "compare")]
    if "extract" in stages:
        with log.extraction():
            n_rows = study.extract()
        bases.release()
        console.print(
            f"extracted {n_rows} prompts × {study.n_blocks + 1} depths"
            if n_rows
            else "extracted already"
        )
    if "probe" in stages:
        rows, undefined = probe_rows(config, specs, study, examples)
        if ranks.is_first():
            _replace(directory, "probe", rows, undefined)

    if "compare" in stages:
        found = compare_all(config, specs, study)
        if ranks.is_first():
            _keep(config, found, directory)

    def conclude() -> ProbeResult:
        _measure(config, stages, specs, study, examples, bases, directory, console)
        findings = None
        if "report" in stages:
            findings = _report_all(config, specs, study, examples, directory, log, console)
        result = ProbeResult(directory.path, _objective(directory), findings)
        _tell(config, result, time.perf_counter() - start_s, console)
        return result

    return ranks.first_does(conclude)


def _tell_plan(config: ProbeConfig, study: Study, console: Console) -> ProbeResult:
    costs, rate = study.plan()
    console.print(table(costs, rate, _what_is_kept(config)), soft_wrap=False)
    return ProbeResult(Path(config.paths.run_dir), None, None)


def _measure(
    config: ProbeConfig,
    stages: Sequence[str],
    specs: Sequence[TaskSpec],
    study: Study,
    examples: Any,
    bases: Bases,
    directory: RunDirectory,
    console: Console,
) -> None:
    """Weigh adapters, and select blocks."""
    if "compare" in config.stages and config.weights.enabled:
        rows, undefined = weight_rows(config.weights, specs, study.models, bases)
        bases.release()
        _replace(directory, "weights", rows, undefined)
    if "select" in stages:
        _select(config, specs, study, examples, directory, console)


def _report_all(
    config: ProbeConfig,
    specs: Sequence[TaskSpec],
    study: Study,
    examples: Any,
    directory: RunDirectory,
    log: StudyLog,
    console: Console,
) -> Findings:
    pictures: dict[str, Path] = {}
    if config.report.paper_figures.enabled:
        table_so_far = LayerTable.read(directory / TABLE)
        pictures, notes = draw_paper_figures(
            config, specs, study, examples, table_so_far, directory.path
        )
        for line in notes:
            console.print(f"paper figures: {line}")
    return _report(config, directory, log, pictures)


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


def _what_is_kept(config: ProbeConfig) -> str:
    if config.extraction.keep == "disk":
        return f"kept in {config.paths.activations}"
    across = [target for target in config.probe.targets if target in ACROSS_TASKS]
    if not across or "probe" not in config.stages:
        return "nothing is kept"
    return (
        f"nothing is kept; up to {config.extraction.sample_rows} rows of each task and split are read "
        f"once more for {' and '.join(across)}"
    )


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
    _note(directory, kind, undefined)


def _note(directory: RunDirectory, kind: str, undefined: Sequence[Undefined]) -> None:
    noted = directory.read(UNDEFINED) if (directory / UNDEFINED).exists() else {}
    write_json(directory / UNDEFINED, {**noted, kind: digest(undefined)})


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


def _select(
    config: ProbeConfig,
    specs: Sequence[TaskSpec],
    study: Study,
    examples: Any,
    directory: RunDirectory,
    console: Console,
) -> None:
    found = select_blocks(
        config, specs, study, examples, lambda: LayerTable.read(directory / TABLE)
    )
    found.selection.write(directory / SELECTION)
    write_json(directory / REGIONS, found.to_json())
    console.print(
        f"adapters belong into blocks {list(found.selection.blocks)}: {found.selection.reason}"
    )


def _report(
    config: ProbeConfig, directory: RunDirectory, log: StudyLog, more: Mapping[str, Path]
) -> Findings:
    """Findings, figures, page and log; the pictures in `more` are logged too."""
    study = read_study(directory.path, config.name)
    table, findings = study.table, study.findings
    write_page(directory / "report.html", [study], config.report.title)
    pictures = save_all(table, study.regions, study.selection, directory / "figures")
    pictures |= save_depth_maps(directory / DEPTH_MAPS, directory / "figures")
    reasons = directory.read(UNDEFINED) if (directory / UNDEFINED).exists() else {}
    log.measured(table)
    names = (TABLE, DEPTH_MAPS, SELECTION, UNDEFINED, "report.html")
    files = [path for name in names if (path := directory / name).is_file()]
    log.found(table, findings, {**pictures, **more}, files, _objective(directory))
    found = directory.read(REGIONS) if (directory / REGIONS).exists() else None
    directory.finish({"lines": findings.lines, "undefined": reasons, "regions": found})
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
