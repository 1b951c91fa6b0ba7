"""`probe.py`: extract, probe, compare, select, report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from taskdepth import ranks, terminal
from taskdepth.activations.memory import MemoryStore
from taskdepth.activations.plan import table
from taskdepth.activations.store import ActivationStore
from taskdepth.config import STAGES, ProbeConfig
from taskdepth.errors import ResultsError
from taskdepth.files import write_json
from taskdepth.pipelines.bases import Bases
from taskdepth.pipelines.paper import check_paper_figures
from taskdepth.pipelines.planning import ACROSS_TASKS
from taskdepth.pipelines.roster import roster
from taskdepth.pipelines.sources import open_source
from taskdepth.pipelines.stages import Stages
from taskdepth.pipelines.study import Study
from taskdepth.pipelines.study_examples import RowCounts, StudyExamples
from taskdepth.pipelines.study_folder import FINDINGS, ROWS, SELECTION, TABLE, objective
from taskdepth.pipelines.study_log import StudyLog
from taskdepth.results import tracking
from taskdepth.results.findings import Findings
from taskdepth.run_directory import RunDirectory, opened
from taskdepth.tasks.spec import select_tasks


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
    examples = StudyExamples(source, asdict(config.extraction.max_examples))
    examples.check(specs, config.probe.targets)
    bases = Bases(config)
    store = _store(config)
    study = ranks.first_before_others(  # it fetches models that the others find
        lambda: Study(config, specs, roster(config, specs), examples, bases, store)
    )
    if config.report.paper_figures.enabled:
        check_paper_figures(config, specs, study)
    if config.extraction.plan:
        return ranks.first_does(lambda: _tell_plan(config, study, console))
    run_dir, reopen = Path(config.paths.run_dir), set(config.stages) != set(STAGES)
    directory = held.enter_context(
        opened(run_dir, config, FINDINGS, reopen=reopen, revisions=bases.revisions)
    )
    if ranks.is_first():
        _tell_left_out(directory, examples.counts, source.skipped(), console)
    asked = config.stages
    if "extract" not in asked and {"probe", "compare"} & set(asked) and study.missing():
        raise ResultsError("there are prompts without activations: run the extract stage first")
    log = StudyLog(config, directory.path, study, examples.content(specs))
    stages = Stages(config, specs, examples, bases, store, study, directory, log, console)
    stages.measure(asked)

    def conclude() -> ProbeResult:
        if "compare" in asked and config.weights.enabled:
            stages.weigh()
        if "select" in asked:
            stages.select()
        findings = stages.report() if "report" in asked else None
        result = ProbeResult(directory.path, objective(directory.path), findings)
        _tell(config, result, time.perf_counter() - start_s, console)
        return result

    return ranks.first_does(conclude)


def finished(config: ProbeConfig) -> ProbeResult | None:
    """What an earlier run with these settings came to; None where there is none that is complete."""
    run_dir = Path(config.paths.run_dir)
    if not RunDirectory.is_finished(run_dir, config, FINDINGS):
        return None
    return ProbeResult(run_dir, objective(run_dir), None)


def _store(config: ProbeConfig) -> ActivationStore | MemoryStore:
    if config.extraction.keep == "none":
        return MemoryStore()
    return ActivationStore(Path(config.paths.activations), dtype=config.extraction.store_dtype)


def _tell_plan(config: ProbeConfig, study: Study, console: Console) -> ProbeResult:
    costs, rate = study.plan()
    console.print(table(costs, rate, _what_is_kept(config)), soft_wrap=False)
    return ProbeResult(Path(config.paths.run_dir), None, None)


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
