"""One line per run and model: what a pile of runs came to, side by side."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from glob import glob
from pathlib import Path

import yaml
from rich.table import Table
from rich.text import Text

from taskdepth.errors import ResultsError
from taskdepth.results.findings import summarise
from taskdepth.results.layer_grid import MEASURE_NAME
from taskdepth.results.table import LayerTable
from taskdepth.results.wording import spans
from taskdepth.types import Role


@dataclass(frozen=True, slots=True)
class Line:
    """The best layer and value of each quantity, as medians over tasks; None where it was not measured."""

    run: str
    role: str
    tasks: int
    label_accuracy: float | None = None
    label_layer: int | None = None
    identity_accuracy: float | None = None
    identity_layer: int | None = None
    first_similarity: float | None = None
    last_similarity: float | None = None
    blocks: tuple[int, ...] = ()


def find(patterns: Sequence[str]) -> list[Path]:
    """The layer tables that `patterns` name: globs (`**` too), files, or run folders.

    Raises:
        ResultsError: a pattern names nothing.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        paths = [Path(path) for path in sorted(glob(pattern, recursive=True))]  # noqa: PTH207 (absolute too)
        paths = [path / "layers.parquet" if path.is_dir() else path for path in paths]
        paths = [path for path in paths if path.name == "layers.parquet" and path.is_file()]
        if not paths:
            raise ResultsError(f"{pattern}: there is no layers.parquet")
        found |= dict.fromkeys(paths)
    return list(found)


def lines(paths: Iterable[Path]) -> list[Line]:
    """Read each table, and the selection beside it."""
    return [line for path in paths for line in _lines_of(path)]


def _lines_of(path: Path) -> list[Line]:
    table = LayerTable.read(path)
    selection = path.with_name("selection.yaml")
    blocks: tuple[int, ...] = ()
    if selection.is_file():
        blocks = tuple(yaml.safe_load(selection.read_text(encoding="utf-8"))["blocks"])
    found = []
    for role in table.unique("role"):
        if role not in (Role.PRETRAINED, Role.EXPERIMENTAL):
            continue
        of_role = summarise(table.where(role=role))
        label = of_role.labels[0] if of_role.labels else None
        identity = of_role.identity
        similarity = of_role.similarity[0] if of_role.similarity else None
        found.append(
            Line(
                run=path.parent.name,
                role=str(role),
                tasks=of_role.n_tasks,
                label_accuracy=label.best if label else None,
                label_layer=label.best_layer if label else None,
                identity_accuracy=identity.accuracy if identity else None,
                identity_layer=identity.best_layer if identity else None,
                first_similarity=similarity.first if similarity else None,
                last_similarity=similarity.last if similarity else None,
                blocks=blocks,
            )
        )
    return found


def table(found: Sequence[Line]) -> Table:
    """For people."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("run", overflow="fold")
    shown.add_column("model")
    for head in ("tasks", "label probe", "task probe", "similarity"):
        shown.add_column(head, justify="right")
    shown.add_column("blocks")
    for line in found:
        shown.add_row(
            Text(line.run),
            line.role,
            str(line.tasks),
            _at(line.label_accuracy, line.label_layer),
            _at(line.identity_accuracy, line.identity_layer),
            _from_to(line.first_similarity, line.last_similarity),
            spans(line.blocks) or "–",
        )
    shown.caption = (
        f"best accuracy and its layer; {MEASURE_NAME} to the control models, first to last layer"
    )
    shown.caption_justify = "left"
    return shown


def to_csv(found: Sequence[Line]) -> str:
    """For machines: a header, and a line each."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Line)], lineterminator="\n")
    writer.writeheader()
    for line in found:
        writer.writerow({**asdict(line), "blocks": " ".join(map(str, line.blocks))})
    return text.getvalue()


def _at(value: float | None, layer: int | None) -> str:
    return "–" if value is None else f"{value:.1%} @ {layer}"


def _from_to(first: float | None, last: float | None) -> str:
    return "–" if first is None or last is None else f"{first:.2f} → {last:.2f}"
