"""The page of all settings, written anew at each build from the schemas and from `conf/`.

A setting's words are the comment beside it in the YAML that gives its default, else the comment beside
its field in `taskdepth/config/schemas.py`, else the sentences of its schema's docstring that name it, else a
comment in any other YAML.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from hydra import compose, initialize_config_dir
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from omegaconf import OmegaConf

from taskdepth import config

PAGE = "reference/config.md"
COMMENT = re.compile(r"\s# (.+)$")
INTRO = """\
# Settings

Every setting of `train.py` and `probe.py`, as `taskdepth/config/schemas.py` holds them; this page is
generated from them. `python train.py optimizer.lr=1e-4` overrides a setting, `python train.py adapter=lora`
chooses an option of a group, `-m` sweeps over several values. The default is that of the command without any
override.

A name or type that the schema does not know ends the command before anything is loaded. `--cfg job` prints the
settings that a command would run with.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: `default` is what the command has when nobody says otherwise."""

    key: str
    type: str
    default: str
    words: str


@dataclass(frozen=True, slots=True)
class Section:
    """The settings below one key (empty: the top), and the options of the group of that name."""

    commands: tuple[str, ...]
    key: str
    words: str
    settings: tuple[Setting, ...]
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Comments:
    """Dotted key → the comment beside it, in the YAMLs of the default and in the others."""

    own: Mapping[str, str]
    other: Mapping[str, str]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    files.append(File.generated(config, PAGE, content=page(sections())))
    return files


def page(of: Sequence[Section]) -> str:
    """The whole page, as Markdown."""
    return "\n\n".join([INTRO.rstrip(), *map(_shown, of)]) + "\n"


def sections() -> list[Section]:
    """Those of train.py, then those of probe.py; what both have in the same form comes once."""
    config.register()
    found: dict[tuple[str, type, str], Section] = {}
    for command, root in (("train", config.TrainConfig), ("probe", config.ProbeConfig)):
        with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
            cfg = compose(command, return_hydra_config=True)
        choices = cfg.hydra.runtime.choices
        plain = OmegaConf.to_container(cfg, resolve=False)
        comments = _comments(command, choices)
        for key, schema in _schemas(root):
            # at the top, and where the commands choose another option, each has its own defaults
            at = (key, schema, command if key in ("", "paths") else "")
            if at in found:
                found[at] = replace(found[at], commands=("train", "probe"))
            else:
                found[at] = _section(command, key, schema, _at(plain, key), comments, choices)
    return list(found.values())


def _schemas(schema: type, key: str = "") -> Iterator[tuple[str, type]]:
    """Every dataclass of the tree with the key that leads to it, from the top down."""
    yield key, schema
    for name, kind in get_type_hints(schema).items():
        if is_dataclass(kind):
            yield from _schemas(kind, f"{key}.{name}" if key else name)


def _section(
    command: str,
    key: str,
    schema: type,
    values: Mapping[str, Any],
    comments: Comments,
    choices: Mapping[str, str],
) -> Section:
    names = [field.name for field in fields(schema)]
    hints = get_type_hints(schema)
    sentences = _sentences(schema)
    beside = _field_comments(schema)
    settings = []
    for field in fields(schema):
        if is_dataclass(hints[field.name]):
            continue
        dotted = f"{key}.{field.name}" if key else field.name
        told = (
            comments.own.get(dotted)
            or beside.get(field.name)
            or _naming(field.name, sentences)
            or comments.other.get(dotted)
        )
        settings.append(
            Setting(dotted, str(field.type), _default(values.get(field.name)), told or "")
        )
    words = " ".join(s for s in sentences if not any(_naming(name, [s]) for name in names))
    return Section((command,), key, words, tuple(settings), _options(key, choices))


def _at(values: Any, key: str) -> Any:
    for name in key.split(".") if key else []:
        values = values[name]
    return values


def _sentences(schema: type) -> list[str]:
    text = inspect.getdoc(schema) or ""
    if text.startswith(f"{schema.__name__}("):  # what dataclass writes where there is none
        return []
    sentences = re.split(r"(?<=\.) (?=[A-Z`])", " ".join(text.split()))
    return [s for s in sentences if s not in ("`train.py`.", "`probe.py`.")]


def _naming(name: str, sentences: list[str]) -> str:
    return " ".join(s for s in sentences if re.search(rf"`{name}\b", s))


def _field_comments(schema: type) -> dict[str, str]:
    found = {}
    for line in inspect.getsource(schema).splitlines():
        name, colon, rest = line.strip().partition(":")
        comment = COMMENT.search(rest)
        if colon and name.isidentifier() and comment:
            found[name] = comment[1]
    return found


def _comments(command: str, choices: Mapping[str, str]) -> Comments:
    conf = config.conf_dir()
    chosen = [conf / f"{group}/{option}.yaml" for group, option in choices.items() if option]
    own = [path for path in (conf / f"{command}.yaml", *chosen) if path.is_file()]
    other = [path for path in sorted(conf.rglob("*.yaml")) if path not in own]
    return Comments(_comments_in(own), _comments_in(other))


def _comments_in(paths: Sequence[Path]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in paths:
        if path.parent.name in ("hydra", "wandb_sweep"):
            continue
        text = path.read_text(encoding="utf-8")
        top = path.parent == config.conf_dir() or "@package _global_" in text
        prefix = "" if top else f"{path.parent.name}."
        for key, comment in _commented(yaml.compose(text), text.splitlines(), prefix):
            found.setdefault(key, comment)
    return found


def _commented(node: Any, lines: list[str], prefix: str) -> Iterator[tuple[str, str]]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        comment = COMMENT.search(lines[key.start_mark.line])
        if comment:
            yield prefix + key.value, comment[1]
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            yield from _commented(value, lines, f"{prefix}{key.value}.")


def _options(group: str, choices: Mapping[str, str]) -> dict[str, str]:
    """Option → the comment at the top of its file, where there is something to choose."""
    if group not in choices or group in ("hydra", "paths"):
        return {}
    found = {}
    for path in sorted((config.conf_dir() / group).glob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        head = takewhile(lambda line: line.startswith("# "), lines)
        about = [line.removeprefix("# ") for line in head if "@package" not in line]
        about += [
            m[1] for line in lines if line.startswith("policy:") and (m := COMMENT.search(line))
        ]
        if path.stem == choices[group]:
            about.insert(0, "the default.")
        found[path.stem] = " ".join(about)
    return found if len(found) > 1 else {}


def _default(value: Any) -> str:
    if value == "???":
        return "must be set"
    if isinstance(value, dict) and "_target_" in value:
        return f"`{value['_target_']}` …"
    if isinstance(value, dict) and value:
        return f"`{{{', '.join(value)}}}`"
    if isinstance(value, str) and (value != value.strip() or "\n" in value):
        return f"`{json.dumps(value)}`"
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()
    return f"`{text.removesuffix('...').strip()}`"


def _shown(section: Section) -> str:
    by = " and ".join(f"{command}.py" for command in section.commands)
    lines = [f"## {by}: {section.key or 'the command itself'}", ""]
    if section.words:
        lines += [_text(section.words), ""]
    lines += ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{s.key}` | `{s.type}` | {s.default} | {_text(s.words)} |" for s in section.settings
    ]
    if section.options:
        lines += ["", f"Options of the group, `{section.key}=…`:", ""]
        lines += [
            f"- `{name}`: {_text(words)}" if words else f"- `{name}`"
            for name, words in section.options.items()
        ]
    return "\n".join(lines)


def _text(words: str) -> str:
    """Angle brackets outside of code would be taken for HTML, bars for the ends of cells."""
    escapes = str.maketrans({"<": "&lt;", ">": "&gt;", "|": "\\|"})
    parts = words.split("`")
    return "`".join(part if i % 2 else part.translate(escapes) for i, part in enumerate(parts))
