"""The recipes of the paper, on two blocks of the same architecture and a few rows in the hub's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hydra import compose, initialize_config_dir

from taskdepth import config
from taskdepth.models import loading
from taskdepth.pipelines import train

pytestmark = pytest.mark.slow

TASKS = ("rte", "sst2", "cola")  # clusters nli, sentiment and misc
QUESTIONS = {
    "rte": (
        "Rain falls.\n\nDoes it follow that it is wet?\n\nOPTIONS:\n- yes\n- no",
        ["yes", "no"],
    ),
    "sst2": ("a fine film\nHow does it sound?\nOPTIONS:\n- negative\n- positive", ["positive"]),
    "cola": (
        "Him runs.\nIs it good English?\nOPTIONS:\n- unacceptable\n- acceptable",
        ["unacceptable"],
    ),
}


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flan")
    for split in ("train", "validation", "test"):
        (folder / split).mkdir()
        for task, (question, answers) in QUESTIONS.items():
            rows = [
                {
                    "inputs": f"{split} {i}: {question}",
                    "targets": answers[i % len(answers)],
                    "task": f"{task}_10templates",
                }
                for i in range(12)
            ]
            path = folder / split / f"{task}_10templates_{split}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    architecture = transformers.LlamaConfig(
        num_hidden_layers=2,
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        max_position_embeddings=2048,
    )
    built = loading.build(architecture, [question for question, _ in QUESTIONS.values()], 400)
    built.lm.save_pretrained(folder)
    built.tokenizer.save_pretrained(folder)
    return folder


def settings(experiment: str, *overrides: str) -> Any:
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        return config.resolve(compose("train", [f"experiment={experiment}", *overrides]))


@pytest.mark.parametrize(
    ("experiment", "record"),
    [
        ("paper_llama2_7b", "metrics.json"),
        ("paper_unseen", "metrics.json"),
        ("paper_control_models", "controls.json"),
    ],
)
def test_two_steps_of_each_recipe(
    experiment: str, record: str, mirror: Path, llama: Path, tmp_path: Path
) -> None:
    result = train.run(
        settings(
            experiment,
            f"model.path={llama}",
            f"data.path={mirror}",
            f"tasks=[{','.join(TASKS)}]",
            f"paths.root={tmp_path}",
            "trainer.max_steps=2",
            "trainer.accelerator=cpu",
            "callbacks=none",
            "logger.enabled=false",
        )
    )
    metrics = json.loads((result.run_dir / record).read_text())
    if record == "controls.json":
        assert set(metrics["controls"]) == set(TASKS)
        assert all(control["steps"] == 2 for control in metrics["controls"].values())
        folder = result.run_dir / "controls" / "rte" / "adapter"
    else:
        folder = result.run_dir / "adapter"
        unseen = {task for task, about in metrics["tasks"].items() if about["unseen"]}
        assert unseen == ({"cola"} if experiment == "paper_unseen" else set())
        assert metrics["tasks"]["cola"]["loss"] > 0, "what is not trained on is still validated on"
        assert metrics["training_data"]["rows"] == 12 * (len(TASKS) - len(unseen))
    adapter = json.loads((folder / "adapter_config.json").read_text())
    assert (adapter["r"], adapter["lora_alpha"], adapter["lora_dropout"]) == (8, 16, 0.0)
    assert set(adapter["target_modules"]) == {"q_proj", "v_proj"}


def test_the_recipe_is_the_papers() -> None:
    recipe = settings("paper_llama2_7b")
    assert recipe.model.path == "meta-llama/Llama-2-7b-hf"
    assert recipe.optimizer.lr == 5e-5
    assert (recipe.scheduler.shape, recipe.trainer.max_epochs) == ("cosine", 3)
    assert recipe.trainer.batch_size_examples * recipe.trainer.accumulate_batches == 16
    assert recipe.data.max_length_tokens == 1024
    assert recipe.mixture.cap_per_cluster_examples == 50_000
    assert recipe.data.prompt_template.startswith("[INST] <<SYS>>\nYou are a helpful, respectful")
    assert recipe.data.prompt_template.endswith("<</SYS>>\n\n{prompt} [/INST]")
