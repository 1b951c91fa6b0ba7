"""Each notebook as a page, with the outputs that are stored in it: a build runs nothing."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

# what pandas adds to its tables; the site has a look of its own
STYLE = re.compile(
    r"<style.*?</style>|(?<=<table) border=.1. class=.dataframe.| style=.text-align: right;.",
    re.DOTALL,
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for file in [f for f in files if f.src_uri.endswith(".ipynb")]:
        path = Path(str(file.abs_src_path))
        stem = file.src_uri.removesuffix(".ipynb")
        text, images = page(nbformat.read(path, as_version=4), Path(stem).name)
        download = f"\n\n[The notebook itself]({path.name})\n"
        files.append(File.generated(config, f"{stem}.md", content=text + download))
        for name, content in images.items():
            at = f"{Path(stem).parent.as_posix()}/{name}"
            files.append(File.generated(config, at, content=content))
    return files


def page(notebook: Any, stem: str) -> tuple[str, dict[str, bytes]]:
    """The notebook as Markdown, and its pictures by the names that the page calls them."""
    images: dict[str, bytes] = {}
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif cell.cell_type == "code":
            parts.append(f"```python\n{cell.source}\n```")
            parts += [part for output in cell.outputs for part in _shown(output, stem, images)]
    return "\n\n".join(parts), images


def _shown(output: Any, stem: str, images: dict[str, bytes]) -> Iterator[str]:
    if output.output_type == "stream":
        if output.name == "stdout":  # what else is said is about the machine that ran it
            yield f"```text\n{output.text.rstrip()}\n```"
        return
    if output.output_type == "error":
        raise ValueError(f"the notebook {stem} holds an error: {output.ename}: {output.evalue}")
    data = output.data
    if "image/png" in data:
        name = f"{stem}_{len(images) + 1}.png"
        images[name] = base64.b64decode(data["image/png"])
        yield f"![]({name})"
    elif "text/html" in data:
        yield STYLE.sub("", data["text/html"])
    elif "text/plain" in data:
        yield f"```text\n{data['text/plain']}\n```"
