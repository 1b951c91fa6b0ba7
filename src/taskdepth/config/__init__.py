"""Config schemas: typos, wrong types and impossible combinations fail before anything loads.

Every YAML under `conf/` is merged into one of two root dataclasses, `TrainConfig` or `ProbeConfig`. Swap
points (sources, architectures, PEFT configs) stay open dicts that carry `_target_`. This package does not
import torch, so that `--help` answers at once.
"""

from taskdepth.config.checks import problems
from taskdepth.config.composing import (
    conf_dir,
    fingerprint,
    instantiate,
    register,
    resolve,
    root_dir,
)
from taskdepth.config.schemas import (
    GEOMETRY,
    MEASURES,
    POLICIES,
    POLICIES_OF_STUDY,
    STAGES,
    DataConfig,
    EvaluationConfig,
    ExtractionConfig,
    LoggerConfig,
    ModelConfig,
    PlacementConfig,
    ProbeConfig,
    SimilarityConfig,
    TrainConfig,
    WeightsConfig,
    is_sharded,
)

__all__ = [
    "GEOMETRY",
    "MEASURES",
    "POLICIES",
    "POLICIES_OF_STUDY",
    "STAGES",
    "DataConfig",
    "EvaluationConfig",
    "ExtractionConfig",
    "LoggerConfig",
    "ModelConfig",
    "PlacementConfig",
    "ProbeConfig",
    "SimilarityConfig",
    "TrainConfig",
    "WeightsConfig",
    "conf_dir",
    "fingerprint",
    "instantiate",
    "is_sharded",
    "problems",
    "register",
    "resolve",
    "root_dir",
]
