"""Which blocks an adapter should change, and with what rank: `LayerSelection` and its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from taskdepth.errors import ConfigError, ResultsError
from taskdepth.files import write_text
from taskdepth.layers import check_blocks, depth_of
from taskdepth.selection.lora import lora_config, selection_file
from taskdepth.selection.regions import Regions

if TYPE_CHECKING:
    from peft import LoraConfig

SCHEMA_VERSION = 1

HEADER = """\
# Which blocks of a model an adapter should change, chosen by taskdepth.
# `blocks` count from 0, as PEFT's layers_to_transform does. Counted from 1 they are
# {layers}.
# To use it: python train.py adapter=lora adapter.blocks_from=<this file>
"""


@dataclass(frozen=True, slots=True)
class LayerSelection:
    """Some blocks of `model`, which has `n_blocks`, and one sentence on why these.

    `regions` are what was known of the model's regions; None where nobody looked. `rank_pattern`:
    block → the rank of a LoRA there; None leaves it to the adapter's own settings.

    Raises:
        ConfigError: a block does not exist, is named twice, none is chosen, the regions are those of
            another number of layers, or the ranks those of other blocks.
    """

    blocks: tuple[int, ...]
    n_blocks: int
    policy: str
    reason: str
    model: str
    regions: Regions | None = None
    rank_pattern: Mapping[int, int] | None = None

    def __post_init__(self) -> None:
        if self.regions is not None and self.regions.n_layers != self.n_blocks:
            raise ConfigError(
                f"the regions are those of {self.regions.n_layers} layers, "
                f"the model has {self.n_blocks} blocks"
            )
        object.__setattr__(self, "blocks", check_blocks(self.blocks, self.n_blocks))
        ranks = self.rank_pattern
        if ranks is not None and (set(ranks) != set(self.blocks) or min(ranks.values()) < 1):
            raise ConfigError(
                f"rank_pattern must give each of blocks {list(self.blocks)} a rank of at least 1, "
                f"not {dict(ranks)}"
            )

    @property
    def layers(self) -> tuple[int, ...]:
        """The same blocks, counted from 1."""
        return tuple(depth_of(block) for block in self.blocks)

    def to_lora_config(self, r: int = 8, lora_alpha: int = 16, **settings: Any) -> LoraConfig:
        """PEFT's LoraConfig for these blocks; `settings` are its other arguments.

        Without `target_modules`, a list of names, PEFT takes those that it knows for the architecture.
        Where the selection has a rank for each block, `r` and `lora_alpha` only give the scaling.

        Raises:
            ConfigError: an argument is unknown to PEFT or wrong, or chooses blocks or ranks by itself.

        >>> LayerSelection((3, 4), 8, "manual", "", "tiny").to_lora_config(r=4).layers_to_transform
        [3, 4]
        """
        return lora_config(self.blocks, self.rank_pattern, r=r, lora_alpha=lora_alpha, **settings)

    def write(self, path: Path) -> None:
        """Write `selection.yaml` in one step: the file is whole or absent."""
        content = {"schema": SCHEMA_VERSION, **_plain(asdict(self))}
        if self.rank_pattern is None:
            del content["rank_pattern"]
        if self.regions is not None and not self.regions.chosen:
            del content["regions"]["chosen"]
        text = yaml.safe_dump(
            content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
        )
        write_text(path, HEADER.format(layers=in_words(self.layers)) + text)

    @classmethod
    def read(cls, path: Path) -> LayerSelection:
        """Read what `write` wrote, perhaps edited by hand.

        Raises:
            ResultsError: no such file, not YAML, or a field is missing, unknown or wrong.
        """
        content = _load(path)
        if (schema := content.pop("schema", "none")) != SCHEMA_VERSION:
            raise ResultsError(f"{path} has schema {schema}; this version reads {SCHEMA_VERSION}")
        kinds = SELECTION_KINDS | ({"rank_pattern": RANKS} if "rank_pattern" in content else {})
        _check(content, kinds, path)
        regions = content.pop("regions")
        if regions is not None:
            kinds = REGIONS_KINDS | ({"chosen": BOOLEAN} if "chosen" in regions else {})
            _check(regions, kinds, path, prefix="regions.")
        try:
            if regions is not None:
                regions = Regions(**{name: _frozen(value) for name, value in regions.items()})
            return cls(**content | {"blocks": tuple(content["blocks"]), "regions": regions})
        except ConfigError as error:
            raise ResultsError(f"{path}: {error}") from None


def load_selection(path: str | Path) -> LayerSelection:
    """Read `selection.yaml`, given as the file or as the folder of the run that wrote it.

    Raises:
        ResultsError: no such file, not YAML, or a field is missing, unknown or wrong.
    """
    return LayerSelection.read(selection_file(path))


def check_fits(selection: LayerSelection, n_blocks: int) -> None:
    """Refuse a selection that was made for a model of another depth.

    Raises:
        ResultsError: `n_blocks` is not that of the selection.
    """
    if selection.n_blocks != n_blocks:
        raise ResultsError(
            f"selection of {in_words(selection.layers)} of {selection.model} was made for a model "
            f"of {selection.n_blocks} blocks, this one has {n_blocks}"
        )


def in_words(layers: Sequence[int]) -> str:
    """`layers`, which ascend, in words.

    >>> in_words([4]), in_words([1, 4, 5, 6])
    ('layer 4', 'layers 1, 4-6')
    """
    starts = [layer for layer in layers if layer - 1 not in layers]
    ends = [layer for layer in layers if layer + 1 not in layers]
    runs = [
        f"{start}" if start == end else f"{start}-{end}"
        for start, end in zip(starts, ends, strict=True)
    ]
    return f"layer{'s' if len(layers) > 1 else ''} {', '.join(runs)}"


def _plain(value: Any) -> Any:
    """Tuples as lists, at any depth: YAML has no tuples."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _frozen(value: Any) -> Any:
    """Lists as tuples, at any depth."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


# What a field of the file must be: in words, for the message, and as a test
Kind = tuple[str, Callable[[Any], bool]]


def _is_integer(value: Any) -> bool:
    return type(value) is int  # True is an int to isinstance


def _are_integers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_integer, value))


INTEGER: Kind = ("a whole number", _is_integer)
BOOLEAN: Kind = ("true or false", lambda value: isinstance(value, bool))
INTEGERS: Kind = ("a list of whole numbers", _are_integers)
TEXT: Kind = ("text", lambda value: isinstance(value, str))
RANKS: Kind = (
    "whole numbers by block",
    lambda value: isinstance(value, dict) and _are_integers([*value, *value.values()]),
)

SELECTION_KINDS: dict[str, Kind] = {
    "blocks": INTEGERS,
    "n_blocks": INTEGER,
    "policy": TEXT,
    "reason": TEXT,
    "model": TEXT,
    "regions": ("null or fields", lambda value: value is None or isinstance(value, dict)),
}
REGIONS_KINDS: dict[str, Kind] = {
    "n_layers": INTEGER,
    "n_regions": INTEGER,
    "found": BOOLEAN,
    "p_value": (
        "a number from 0 to 1",
        lambda value: type(value) in (int, float) and 0 <= value <= 1,
    ),
    "boundaries": INTEGERS,
    "intervals": (
        "a list of pairs of whole numbers",
        lambda value: (
            isinstance(value, list) and all(_are_integers(v) and len(v) == 2 for v in value)
        ),
    ),
    "reason": TEXT,
}


def _load(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        for token in yaml.scan(text, yaml.SafeLoader):
            # a few lines of aliases can stand for more than fits into memory
            if isinstance(token, yaml.AliasToken):
                line = token.start_mark.line + 1
                raise ResultsError(
                    f"{path} is not valid YAML at line {line}: write out what * means"
                )
        content = yaml.safe_load(text)
    except FileNotFoundError:
        raise ResultsError(f"no layer selection at {path}: run probe.py first") from None
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise ResultsError(f"{path} is nested too deeply") from None
    # ValueError: not UTF-8, or no such date; the others are yaml's own at odd keys and tags
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ResultsError(f"{path} is not valid YAML{where}") from None
    if not isinstance(content, dict):
        raise ResultsError(f"{path} is not a layer selection: it holds no fields")
    return content


def _check(content: dict[str, Any], kinds: dict[str, Kind], path: Path, prefix: str = "") -> None:
    """Raise ResultsError unless `content` has exactly the fields of `kinds`, each of its kind."""
    problems = [f"{prefix}{name} is missing" for name in kinds if name not in content]
    unknown = [name for name in content if name not in kinds]
    problems += [
        f"{prefix}{name if str(name).isprintable() else repr(name)} is unknown" for name in unknown
    ]
    problems += [
        f"{prefix}{name} must be {words}, not {repr(content[name])[:80]}"
        for name, (words, fits) in kinds.items()
        if name in content and not fits(content[name])
    ]
    if problems:
        raise ResultsError(f"{path}: {'; '.join(problems)}")
