"""Policies choose what they say, and `selection.yaml` survives a person's hands or says why not."""

import numpy as np
import pytest
import yaml

from taskdepth.errors import ConfigError, ResultsError
from taskdepth.selection import LayerSelection, Regions, check_fits, select

FOUND = Regions(8, 3, True, 0.001, (3, 5), ((2, 3), (5, 7)))
NOT_FOUND = Regions(8, 3, False, 0.4, reason="noise")
TWO = Regions(8, 2, True, 0.001, (3,), ((2, 3),), chosen=True)
NONE = Regions(8, 1, False, 0.4, reason="noise", chosen=True)
GAIN = np.array([0.1, 0.3, np.nan, 0.3, 0.5, -0.2, 0.0, np.nan])


@pytest.mark.parametrize(
    ("policy", "inputs", "blocks", "reason"),
    [
        ("region", {"regions": FOUND}, (3, 4), "The transition region is layers 4-5 of 8."),
        ("region", {"regions": FOUND, "region": "shared"}, (0, 1, 2), "layers 1-3"),
        ("region", {"regions": FOUND, "region": "refinement"}, (5, 6, 7), "layers 6-8"),
        (
            "region",
            {"regions": Regions(8, 3, True, 0.01, (1, 2), ((1, 1), (2, 2)))},
            (1,),
            "layer 2 ",
        ),
        (
            "region",
            {"regions": NOT_FOUND},
            tuple(range(8)),
            "All layers, as no regions were found: noise.",
        ),
        ("region", {"regions": TWO, "region": "region_2"}, (3, 4, 5, 6, 7), "layers 4-8 of 8"),
        (
            "region",
            {"regions": TWO},
            tuple(range(8)),
            "All layers, as transition is none of the 2 regions found: region_1, region_2.",
        ),
        ("region", {"regions": NONE}, tuple(range(8)), "as no regions were found: noise."),
        ("top_gain", {"gain": GAIN, "k": 1}, (4,), "gain is that of layer 5: at least 0.5."),
        (
            "top_gain",
            {"gain": GAIN, "k": 2},
            (1, 4),
            "layers 2, 5: at least 0.3.",
        ),  # of equals the lower
        ("top_gain", {"gain": GAIN, "k": 3}, (1, 3, 4), "layers 2, 4-5: at least 0.3."),
        ("top_gain", {"gain": GAIN, "k": 6}, (0, 1, 3, 4, 5, 6), "layers 1-2, 4-7: at least -0.2."),
        ("manual", {"blocks": [6, 0]}, (0, 6), "Chosen by hand."),
        ("manual", {"blocks": (7,), "regions": FOUND}, (7,), "Chosen by hand."),
    ],
)
def test_policies(policy, inputs, blocks, reason):
    selection = select(policy, 8, "tiny", **inputs)
    assert selection.blocks == blocks
    assert all(type(block) is int for block in selection.blocks)
    assert selection.layers == tuple(block + 1 for block in blocks)
    assert reason in selection.reason
    assert (selection.policy, selection.n_blocks, selection.model) == (policy, 8, "tiny")
    assert selection.regions == inputs.get("regions")


def test_of_equal_gains_the_lowest_layers_win():
    assert select("top_gain", 80, "large", gain=np.zeros(80), k=3).blocks == (0, 1, 2)


@pytest.mark.parametrize(
    ("policy", "inputs", "words"),
    [
        ("regoin", {}, "unknown policy 'regoin': did you mean region"),
        ("zzz", {}, "known: adjacent_cka, all, first_k"),
        ("region", {}, "needs regions"),
        ("region", {"regions": FOUND, "region": "transitoin"}, "did you mean transition"),
        ("region", {"regions": NOT_FOUND, "region": "middle"}, "unknown region 'middle'"),
        ("region", {"regions": Regions(9, 3, False, 1.0)}, "9 layers, the model has 8 blocks"),
        ("top_gain", {"k": 2}, "needs the gain of each of 8 layers"),
        ("top_gain", {"k": 2, "gain": GAIN[:7]}, "needs the gain of each of 8 layers"),
        ("top_gain", {"gain": GAIN}, "between 1 and 6: k=None"),
        ("top_gain", {"gain": GAIN, "k": 0}, "between 1 and 6: k=0"),
        ("top_gain", {"gain": GAIN, "k": 7}, "between 1 and 6: k=7"),
        ("manual", {}, "no block is chosen"),
        ("manual", {"blocks": [8]}, "do not exist"),
        ("manual", {"blocks": [-1]}, "do not exist"),
        ("manual", {"blocks": [2, 2]}, "named twice"),
    ],
)
def test_refuses(policy, inputs, words):
    with pytest.raises(ConfigError, match=words):
        select(policy, 8, "tiny", **inputs)


@pytest.mark.parametrize(
    "selection",
    [
        select("region", 8, "org/model-7b", FOUND),
        select("region", 8, "7", NOT_FOUND),
        select("top_gain", 8, "naïve: “model”\n#1", gain=GAIN, k=3),
        select("manual", 80, "no", blocks=range(80)),
    ],
)
def test_file_round_trip(selection, tmp_path):
    path = tmp_path / "a folder" / "selection.yaml"
    selection.write(path)
    assert LayerSelection.read(path) == selection
    assert [file.name for file in path.parent.iterdir()] == ["selection.yaml"]


def test_the_file_explains_itself(tmp_path):
    path = tmp_path / "selection.yaml"
    select("manual", 16, "tiny", blocks=[0, 3, 4, 5, 15]).write(path)
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert "layers_to_transform" in "\n".join(header)
    assert "1, 4-6, 16" in "\n".join(header)
    assert yaml.safe_load(path.read_text()) == {
        "schema": 1,
        "blocks": [0, 3, 4, 5, 15],
        "n_blocks": 16,
        "policy": "manual",
        "reason": "Chosen by hand.",
        "model": "tiny",
        "regions": None,
    }


def written(tmp_path, **changes):
    """A valid file with some fields changed; None removes a field, dots reach into regions."""
    path = tmp_path / "selection.yaml"
    select("region", 8, "tiny", FOUND).write(path)
    content = yaml.safe_load(path.read_text())
    for name, value in changes.items():
        *outer, last = name.split("__")
        fields = content[outer[0]] if outer else content
        if value is None:
            del fields[last]
        else:
            fields[last] = value
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("regions", [TWO, NONE])
def test_the_file_says_whether_the_number_of_regions_was_chosen(tmp_path, regions):
    path = tmp_path / "selection.yaml"
    select("region", 8, "tiny", regions).write(path)
    assert LayerSelection.read(path).regions == regions
    assert yaml.safe_load(path.read_text())["regions"]["chosen"] is True
    select("region", 8, "tiny", FOUND).write(path)
    assert "chosen" not in yaml.safe_load(path.read_text())["regions"]  # as older versions read it


def test_blocks_may_be_edited_by_hand(tmp_path):
    assert LayerSelection.read(written(tmp_path, blocks=[5, 1])).blocks == (1, 5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": 2}, "has schema 2; this version reads 1"),
        ({"schema": None}, "has schema none"),
        ({"blocks": None}, "blocks is missing"),
        ({"blocks": None, "model": None}, "blocks is missing; model is missing"),
        ({"block": [1]}, "block is unknown"),
        ({"blocks": "all"}, "blocks must be a list of whole numbers, not 'all'"),
        ({"blocks": [1, 2.5]}, "a list of whole numbers"),
        ({"blocks": [True]}, "a list of whole numbers"),
        ({"n_blocks": "8"}, "n_blocks must be a whole number"),
        ({"policy": 3}, "policy must be text"),
        ({"blocks": []}, "no block is chosen"),
        ({"blocks": [8]}, r"blocks \[8\] do not exist: the model has blocks 0 to 7"),
        ({"blocks": [1, 1]}, "named twice"),
        ({"regions": [3, 5]}, "regions must be null or fields"),
        ({"regions__found": "yes"}, "regions.found must be true or false"),
        ({"regions__p_value": None}, "regions.p_value is missing"),
        ({"regions__chosen": "yes"}, "regions.chosen must be true or false"),
        ({"regions__colour": "red"}, "regions.colour is unknown"),
        ({"regions__intervals": [[1, 2, 3], [4, 5]]}, "a list of pairs"),
        ({"regions__boundaries": [5, 3]}, "do not cut 8 layers into 3 regions"),
        ({"regions__n_layers": 9}, "those of 9 layers, the model has 8 blocks"),
    ],
)
def test_damaged_files_say_what_is_wrong(tmp_path, changes, words):
    path = written(tmp_path, **changes)
    with pytest.raises(ResultsError, match=words) as caught:
        LayerSelection.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"blocks: [1, 2", "is not valid YAML at line 1"),
        (b"schema: 1\nblocks: *nothing\n", "is not valid YAML at line 2"),
        (b"model: !!python/object/apply:os.getcwd []\n", "is not valid YAML"),
        (b"model: 2024-99-99\n", "is not valid YAML"),
        (b"\xff\xfe\x00", "is not valid YAML"),
        (b"", "is not a layer selection"),
        (b"- 1\n- 2\n", "is not a layer selection"),
    ],
)
def test_what_is_not_a_selection(tmp_path, content, words):
    path = tmp_path / "selection.yaml"
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=words) as caught:
        LayerSelection.read(path)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(ResultsError, match=r"no layer selection at .* run probe\.py first"):
        LayerSelection.read(tmp_path / "selection.yaml")
    with pytest.raises(ResultsError, match="cannot be read"):
        LayerSelection.read(tmp_path)


def test_check_fits():
    selection = select("manual", 8, "tiny", blocks=[2, 3])
    check_fits(selection, 8)
    words = "layers 3-4 of tiny was made for a model of 8 blocks, this one has 30"
    with pytest.raises(ResultsError, match=words):
        check_fits(selection, 30)
