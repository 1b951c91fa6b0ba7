"""A study small enough to draw in a moment."""

from __future__ import annotations

import pytest

from study_files import make_study
from taskdepth.report.study import Study

TASKS = {"rte": "nli", "sst2": "sentiment", "cb": "nli", "imdb": "sentiment", "aeslc": "summaries"}


@pytest.fixture(scope="session")
def study() -> Study:
    """Five tasks in three clusters (not in cluster order), eight layers."""
    return make_study(TASKS, 8, of_tasks=True)
