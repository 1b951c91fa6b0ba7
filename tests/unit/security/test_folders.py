"""What comes in folders: models, adapters, run folders. Each attack fails with one clear line."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest

from taskdepth.activations.shard import ShardRecord
from taskdepth.errors import DataError, ModelError
from taskdepth.models import adapters, folder, loading
from taskdepth.models.reference import refer, refer_controls
from taskdepth.tasks.folder import FolderSource
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Role


class Bomb:
    """Unpickled, it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self._mark,)


@pytest.fixture
def model(tmp_path: Path, tiny_folder: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


def change(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_pickled_weights_are_not_read(model: Path, tmp_path: Path) -> None:
    with (model / "pytorch_model.bin").open("wb") as handle:
        pickle.dump(Bomb(tmp_path / "hacked"), handle)
    for weights in model.glob("*.safetensors"):
        weights.unlink()
    with pytest.raises(ModelError, match="no safetensors weights"):
        loading.local_folder(str(model))
    with pytest.raises(ModelError, match="cannot load a causal LM"):
        loading.load(model)
    assert not (tmp_path / "hacked").exists()


OWN_CODE = """
from pathlib import Path
Path(__file__).with_name("hacked").touch()
raise RuntimeError("ran")
"""


def test_a_models_own_code_does_not_run(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model / "theirs.py").write_text(OWN_CODE)
    change(model / "config.json", model_type="theirs", auto_map={"AutoConfig": "theirs.Config"})
    for named in (None, "another/model", "true"):
        with pytest.raises(ModelError, match="unless trust_remote_code names this model"):
            loading.load_config(model, trust_remote_code=named)
        assert not list(model.rglob("hacked"))


def test_code_is_trusted_by_the_name_of_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = tmp_path / "hub" / "models--good--one" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    assert folder.trusts("good/one", snapshot)
    assert folder.revision_of(snapshot) == "abc"
    assert folder.trusts(str(snapshot), snapshot)
    for named in (None, "good/two", "good", "", "True"):
        assert not folder.trusts(named, snapshot)
    elsewhere = tmp_path / "evil" / "models--good--one" / "snapshots" / "abc"
    assert not folder.trusts("good/one", elsewhere)
    assert folder.revision_of(elsewhere) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"auto_map": {"AutoConfig": "evil/repo--code.Config"}}, "takes code from another repo"),
        ({"attn_implementation": "evil/kernel"}, "asks for a kernel from the hub"),
        ({"_attn_implementation": {"text": "evil/kernel"}}, "asks for a kernel from the hub"),
    ],
)
def test_a_model_config_brings_nothing_in(
    model: Path, changes: dict[str, object], message: str
) -> None:
    change(model / "config.json", **changes)
    for read in (loading.load_config, loading.load_tokenizer, loading.load):
        with pytest.raises(ModelError, match=message):
            read(model, trust_remote_code=str(model))


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ("../../secret.safetensors", "outside its folder"),
        ("/etc/secret.safetensors", "outside its folder"),
        ("pytorch_model.bin", "no safetensors"),
    ],
)
def test_an_index_names_weights_of_its_folder(model: Path, shard: str, message: str) -> None:
    index = {"metadata": {}, "weight_map": {"x": shard}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=message):
        loading.load(model)


def test_an_adapter_beside_a_model_is_refused(model: Path) -> None:
    (model / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/base"}')
    with pytest.raises(ModelError, match="holds an adapter beside the model"):
        loading.load(model)


def adapter(place: Path, **options: object) -> Path:
    place.mkdir(parents=True)
    (place / "adapter_model.safetensors").write_bytes(b"")
    content = {"base_model_name_or_path": "base", "peft_type": "LORA", **options}
    (place / "adapter_config.json").write_text(json.dumps(content))
    return place


def test_a_pickled_adapter_is_not_read(tmp_path: Path, tiny: loading.LanguageModel) -> None:
    place = adapter(tmp_path / "theirs")
    (place / "adapter_model.safetensors").unlink()
    with (place / "adapter_model.bin").open("wb") as handle:
        pickle.dump(Bomb(tmp_path / "hacked"), handle)
    with pytest.raises(ModelError, match=r"adapter_model\.bin could run code and is not read"):
        refer(str(place), Role.EXPERIMENTAL)
    with (
        pytest.raises(ModelError, match=r"adapter_model\.bin could run code"),
        adapters.loaded(tiny.lm, place),
    ):
        pass
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"megatron_config": {"x": 1}, "megatron_core": "stranger"}, "a Python module"),
        ({"adapters": {"a": "/elsewhere"}}, "other adapters"),
        ({"base_model_name_or_path": 3}, "does not say which model"),
    ],
)
def test_an_adapter_config_brings_nothing_in(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        refer(str(adapter(tmp_path / "theirs", **options)), Role.EXPERIMENTAL)


@pytest.mark.parametrize("named", ["../out", "in/../../out", "link", "/out", "\x00", 3, None])
def test_controls_lie_in_their_folder(tmp_path: Path, named: object) -> None:
    out = adapter(tmp_path / "out")
    run = tmp_path / "run"
    adapter(run / "in")
    (run / "link").symlink_to(out, target_is_directory=True)
    if named == "/out":
        named = str(out)
    (run / "controls.json").write_text(json.dumps({"controls": {"t": {"adapter": named}}}))
    with pytest.raises(ModelError, match=r"points outside its folder|names no adapter"):
        refer_controls(str(run), ["t"])


def test_a_shard_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"1234")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "shard-00000.safetensors").symlink_to(tmp_path / "elsewhere")
    record = ShardRecord(0, 0, 1, "float32", 4, "")
    assert "is a link" in str(record.problem(tmp_path / "run", checksum=False))


@pytest.mark.parametrize(
    "name", ["..", ".", "", "../x", "/etc/x", "a/b", "a\\b", "a\x00b", "a\n", ".hidden", "x" * 201]
)
def test_a_task_is_no_path(name: str) -> None:
    with pytest.raises(DataError, match="cannot be a task's name"):
        TaskSpec(name, "misc", Kind.GENERATION)


def test_a_file_of_rows_cannot_make_such_a_task(tmp_path: Path) -> None:
    (tmp_path / "...jsonl").write_text("{}\n")  # its stem is ..
    with pytest.raises(DataError):
        FolderSource(tmp_path).specs()
