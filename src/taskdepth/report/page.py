"""`report.html`: the page itself, put together from its template, style and scripts.

The page holds everything it shows and forbids itself any request. Task text is untrusted: Jinja
escapes what is HTML, `_json` what would end a script element, and the scripts make text nodes only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from taskdepth import __version__
from taskdepth.files import write_text
from taskdepth.report.caveats import caveats, flatten
from taskdepth.report.contents import contents
from taskdepth.report.placing import lora_snippet, reuse_command, reuse_python, strip
from taskdepth.report.side_by_side import side_by_side
from taskdepth.report.study import Study
from taskdepth.report.task_lines import task_lines

# in the order in which they build on one another
SCRIPTS = (
    *("elements", "data", "scales", "matrix", "panel"),
    *("task_heatmap", "boxes", "probes", "regions", "maps", "tables", "main"),
)


TITLE = "At what depth the tasks live"


def write_page(path: Path, studies: Sequence[Study], title: str = TITLE) -> None:
    """Write the page about `studies` to `path`, in one step."""
    environment = Environment(
        loader=PackageLoader("taskdepth.report", "drawing"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html.j2").render(
        title=title,
        version=__version__,
        studies=studies,
        contents=_json(contents(studies)),
        style=_own("page.css"),
        scripts=[_own(f"scripts/{name}.js") for name in SCRIPTS],
        side_by_side=side_by_side,
        strip=strip,
        lora_snippet=lora_snippet,
        reuse_command=reuse_command,
        reuse_python=reuse_python,
        task_lines=task_lines,
        caveats=caveats,
        flatten=flatten,
    )
    write_text(path, page)


def _own(name: str) -> Markup:
    """A file of ours; a test reads that none holds a closing tag."""
    text = files("taskdepth.report").joinpath("drawing", name).read_text(encoding="utf-8")
    return Markup(text)  # nosec B704


def _json(content: Any) -> Markup:
    """JSON that no text in it can end: for HTML, `<` opens a tag inside a script element too."""
    return Markup(  # nosec B704
        json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
    )
