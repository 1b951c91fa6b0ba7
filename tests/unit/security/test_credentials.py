from __future__ import annotations

import sys
from pathlib import Path

import pytest

from taskdepth import config
from taskdepth.credentials import exposed, masked
from taskdepth.run_directory import RunDirectory

SECRET = "s3cr3t-value-of-mine"


@pytest.mark.parametrize("variable", ["HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY"])
def test_values_of_secret_variables_are_masked(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, SECRET)
    assert masked(f"a {SECRET} b") == "a *** b"
    told = list(exposed({"model": {"path": [f"x{SECRET}"]}}))
    assert len(told) == 1
    assert told[0].startswith(f"model.path[0] holds the value of {variable}")
    assert SECRET not in told[0]
    monkeypatch.setattr(sys, "argv", ["train.py", f"+x={SECRET}"])
    RunDirectory.begin(tmp_path / "run", config.TrainConfig(name="x"), "metrics.json")
    assert "+x=***" in (tmp_path / "run" / "provenance.json").read_text()
    assert SECRET not in (tmp_path / "run" / "provenance.json").read_text()


@pytest.mark.parametrize(
    "text", ["hf_" + "a1B2" * 8, "https://me:pass@example.org/x", "wandb_v1_" + "a1_B2" * 6]
)
def test_what_looks_like_a_credential_is_one(text: str) -> None:
    assert masked(text) != text
    assert len(list(exposed({"a": text}))) == 1


@pytest.mark.parametrize(
    "text", ["last_token", "hf_model", "https://example.org/a@b", "meta/llama", "{prompt}:"]
)
def test_other_text_is_left_alone(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "short")
    assert masked(text) == text
    assert not list(exposed({"a": [text, 3, None]}))
