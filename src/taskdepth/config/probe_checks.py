"""What settings of `probe.py` contradict each other or are impossible."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

from taskdepth import launching
from taskdepth.config.phrases import below_one, unknown, wrong_region
from taskdepth.config.schemas import (
    DEPTH_MAPS,
    DEVICE_MAPS,
    DTYPES,
    GEOMETRY,
    MEASURES,
    POLICIES,
    POLICIES_AT_WORK,
    POOLINGS,
    PROBE_SCORES,
    PROBE_SOLVERS,
    PROBE_TARGETS,
    PROJECTIONS,
    STAGES,
    ExtractionConfig,
    ProbeConfig,
    ProbingConfig,
    WeightsConfig,
)

NEED_TSNE = "pip install 'taskdepth[tsne]', or projection=pca"


def probe_problems(config: ProbeConfig) -> list[str]:
    """One phrase for each; what both commands have is left to `taskdepth.config.checks`."""
    return [
        *_devices_problems(config),
        *_stages_problems(config),
        *_unknown_words(config),
        *_similarity_problems(config),
        *_keep_problems(config),
        *_extraction_problems(config.extraction),
        *wrong_region("selection", config.selection, [config.selection.policy]),
        *_device_map_problems(config),
        *_weights_problems(config.weights),
        *_probes_problems(config.probe),
        *_paper_problems(config),
    ]


def _devices_problems(config: ProbeConfig) -> list[str]:
    """What one process does, and several do not (yet)."""
    if launching.n_processes(config.devices) == 1:
        return []
    found = []
    if config.extraction.keep == "none":
        found.append("extraction.keep=none holds states in the memory of one process: devices=1")
    if config.extraction.device_map is not None:
        found.append("extraction.device_map gives one process all GPUs: devices=1")
    return found


def _stages_problems(config: ProbeConfig) -> list[str]:
    """Stages without what they read."""
    models = config.models
    found = []
    if not config.stages:
        found.append("stages is empty: choose from " + ", ".join(STAGES))
    if models.pretrained is None and models.experimental is None:
        found.append(
            "models.pretrained=<folder or hub id> or models.experimental=<run folder> must be set"
        )
    if "compare" in config.stages and models.controls is None:
        found.append(
            "the compare stage needs models.controls=<run folder of experiment=control_models>"
        )
    return found


def _unknown_words(config: ProbeConfig) -> list[str]:
    extraction, probe, similarity = config.extraction, config.probe, config.similarity
    extracted = tuple(extraction.poolings)
    lists: list[tuple[str, list[str], tuple[str, ...]]] = [
        ("stages", config.stages, STAGES),
        ("selection.policy", [config.selection.policy], POLICIES),
        ("extraction.poolings", extraction.poolings, POOLINGS),
        ("probe.poolings", probe.poolings, extracted),
        ("similarity.poolings", similarity.poolings, extracted),
        ("probe.targets", probe.targets, PROBE_TARGETS),
        ("probe.scores", probe.scores, PROBE_SCORES),
        ("probe.solver", [probe.solver], PROBE_SOLVERS),
        ("probe.interval", [probe.interval], ("wilson", "bootstrap")),
        ("similarity.measures", similarity.measures, MEASURES),
        ("similarity.geometry", similarity.geometry, GEOMETRY),
        ("similarity.depth_maps", [similarity.depth_maps], DEPTH_MAPS),
        ("similarity.splits", similarity.splits, ("train", "validation", "test")),
        ("extraction.dtype", [extraction.dtype], DTYPES),
        ("extraction.store_dtype", [extraction.store_dtype], DTYPES),
        ("extraction.padding_side", [extraction.padding_side], ("left", "right")),
        ("extraction.final_norm", [extraction.final_norm], ("pre", "post")),
        ("extraction.keep", [extraction.keep], ("disk", "none")),
        (
            "report.paper_figures.projection",
            [config.report.paper_figures.projection],
            PROJECTIONS,
        ),
    ]
    return [phrase for name, values, known in lists for phrase in unknown(name, values, known)]


def _similarity_problems(config: ProbeConfig) -> list[str]:
    models, settings = config.models, config.similarity
    found = []
    searched = "select" in config.stages and config.selection.policy != "manual"
    if searched and "debiased_cka" not in settings.measures:
        found.append("the select stage reads debiased_cka: put it into similarity.measures")
    if models.ceiling is not None and models.controls is None:
        found.append("models.ceiling is compared with models.controls: set both")
    if models.ceiling is not None and models.ceiling == models.controls:
        found.append("models.ceiling must be another run than models.controls, with another seed")
    for name in ("foils", "n_bootstrap", "n_shuffles"):
        if getattr(settings, name) < 0:
            found.append(f"similarity.{name} must not be negative: {getattr(settings, name)}")
    if settings.foils and models.controls is None:
        found.append("similarity.foils are control models: set models.controls")
    return found


def _extraction_problems(extraction: ExtractionConfig) -> list[str]:
    found = below_one("extraction", extraction, ["batch_tokens"])
    if extraction.sample_rows < 1:
        found.append(f"extraction.sample_rows must be positive, it is {extraction.sample_rows}")
    return found


def _keep_problems(config: ProbeConfig) -> list[str]:
    """What needs states after they were read."""
    extraction = config.extraction
    if extraction.keep != "none":
        return []
    found = []
    reading = [stage for stage in config.stages if stage in ("probe", "compare")]
    if reading and "extract" not in config.stages:
        found.append(f"extraction.keep=none keeps no states: stages={reading} need extract, too")
    if config.probe.transfer:
        found.append(
            "probe.transfer needs the states of several tasks at once: extraction.keep=disk"
        )
    if config.report.paper_figures.enabled:
        found.append("report=paper_figures reads states of all tasks: extraction.keep=disk")
    if extraction.store_dtype != "float32":
        found.append("extraction.keep=none stores nothing: leave extraction.store_dtype at float32")
    return found


def _weights_problems(weights: WeightsConfig) -> list[str]:
    if weights.intruder_k < 1 or not 0 < weights.intruder_threshold <= 1:
        return ["weights.intruder_k must be positive, and weights.intruder_threshold in (0, 1]"]
    return []


def _probes_problems(probe: ProbingConfig) -> list[str]:
    found = []
    if not probe.l2s or min(probe.l2s) <= 0:
        found.append("probe.l2s must be positive numbers")
    if probe.folds is not None and probe.folds < 2:
        found.append(f"probe.folds must be at least 2, or null, not {probe.folds}")
    if probe.first_token_classes < 2:
        found.append(
            f"probe.first_token_classes must be at least 2, not {probe.first_token_classes}"
        )
    if probe.transfer and "label" not in probe.targets:
        found.append("probe.transfer tests label probes: put label into probe.targets")
    if probe.solver == "adamw":
        found += [
            f"probe.{name} needs a problem's states in memory: probe.solver=optimum"
            for name in ("folds", "transfer", "mdl")
            if getattr(probe, name)
        ]
    found += [
        f"probe.minibatch.{name} must be above 0, not {value}"
        for name, value in vars(probe.minibatch).items()
        if value <= 0
    ]
    return found


def _paper_problems(config: ProbeConfig) -> list[str]:
    paper = config.report.paper_figures
    if not paper.enabled:
        return []
    found = [
        f"report.paper_figures.{name} must be at least {least}, not {value}"
        for name, value, least in (
            ("rows_per_task", paper.rows_per_task, 4),
            ("points_per_task", paper.points_per_task, 1),
            ("n_permutations", paper.n_permutations, 99),
        )
        if value is not None and value < least
    ]
    if paper.layers is not None and not paper.layers:
        found.append("report.paper_figures.layers is empty: name layers, or null for four of them")
    if not config.similarity.poolings:
        found.append("report=paper_figures needs similarity.poolings, its first is drawn")
    if paper.projection == "tsne" and find_spec("sklearn") is None:
        found.append("report.paper_figures.projection=tsne needs scikit-learn: " + NEED_TSNE)
    return found


def _device_map_problems(config: ProbeConfig) -> list[str]:
    """Of extraction from a model in parts."""
    settings = config.extraction
    device_map, limits = settings.device_map, asdict(settings.max_memory_gib)
    found = [
        f"extraction.max_memory_gib.{name} must be above 0, not {limit}"
        for name, limit in limits.items()
        if limit is not None and limit <= 0
    ]
    if any(limit is not None for limit in limits.values()) and not isinstance(device_map, str):
        found.append("extraction.max_memory_gib is for extraction.device_map=auto")
    if device_map is None:
        return found
    if isinstance(device_map, str):
        if device_map not in DEVICE_MAPS:
            found += unknown("extraction.device_map", [device_map], DEVICE_MAPS)
    elif isinstance(device_map, dict) and device_map:
        found += _parts_problems(device_map)
    else:
        found.append(f"extraction.device_map must be auto or {{part: device}}, not {device_map!r}")
    parts = device_map.values() if isinstance(device_map, dict) else []
    on_gpus = isinstance(device_map, str) or any(isinstance(device, int) for device in parts)
    if on_gpus and settings.accelerator == "cpu":
        found.append("extraction.device_map takes GPUs: leave extraction.accelerator at auto")
    if config.selection.policy in POLICIES_AT_WORK and "select" in config.stages:
        found.append(
            f"selection.policy={config.selection.policy} needs the whole model on one device: "
            "extraction.device_map=null"
        )
    return found


def _parts_problems(device_map: dict[Any, Any]) -> list[str]:
    found = [
        f"extraction.device_map gives {part} to {device!r}: cpu, disk or the number of a GPU"
        for part, device in device_map.items()
        if device not in ("cpu", "disk") and not (type(device) is int and device >= 0)
    ]
    parts = [str(part) for part in device_map]
    found += [
        f"extraction.device_map names {inner}, a part of {outer or 'all'}: each part once"
        for outer in parts
        for inner in parts
        if inner != outer and (not outer or inner.startswith(f"{outer}."))
    ]
    return found
