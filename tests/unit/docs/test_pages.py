"""What the site is made of: the Python interface has docstrings, notebooks become pages, nothing is fetched."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import nbformat.v4
import pytest
import yaml

import taskdepth
from doctests import fenced
from document_blocks import ROOT, blocks_of
from notebook_page import page
from nothing_from_elsewhere import loaded_from_elsewhere


def public() -> Iterator[tuple[str, Any]]:
    """The names and objects that docs/reference/api.md shows."""
    for part in (ROOT / "docs/reference/api.md").read_text().split("\n::: ")[1:]:
        name, _, rest = part.partition("\n")
        module = import_module(name)
        options = (
            yaml.safe_load(rest.partition("\n\n")[0]) if rest.startswith("    options") else {}
        )
        for member in options.get("options", {}).get("members", None) or module.__all__:
            yield f"{name}.{member}", getattr(module, member)


def documented(name: str, found: Any) -> Iterator[tuple[str, Any]]:
    yield name, found
    if inspect.isclass(found):
        for key, member in vars(found).items():
            is_ours = callable(member) or isinstance(member, (property, classmethod, staticmethod))
            if is_ours and not key.startswith("_"):
                yield f"{name}.{key}", member


def test_everything_public_has_a_docstring() -> None:
    shown = [pair for name, found in public() for pair in documented(name, found)]
    assert len(shown) > 70
    without = [name for name, found in shown if callable(found) and not inspect.getdoc(found)]
    assert without == []
    made = [
        name
        for name, found in shown
        if inspect.isclass(found) and found.__doc__.startswith(f"{found.__name__}(")
    ]
    assert made == [], "dataclass wrote these docstrings, nobody else did"


def test_the_package_exports_what_the_page_says() -> None:
    text = (ROOT / "docs/reference/api.md").read_text()
    assert all(f"`taskdepth.{name}`" in text for name in taskdepth.__all__)


def test_a_notebook_becomes_a_page() -> None:
    output = nbformat.v4.new_output
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# Title"),
            nbformat.v4.new_code_cell(
                "1 + 1",
                outputs=[
                    output("stream", name="stdout", text="said\n"),
                    output("stream", name="stderr", text="a warning\n"),
                    output("execute_result", {"text/plain": "2"}),
                    output("display_data", {"image/png": "aGVsbG8=", "text/plain": "<Figure>"}),
                    output("display_data", {"text/html": '<table border="1" class="dataframe">'}),
                ],
            ),
        ]
    )
    text, images = page(notebook, "n")
    assert text.split("\n\n") == [
        "# Title",
        "```python\n1 + 1\n```",
        "```text\nsaid\n```",
        "```text\n2\n```",
        "![](n_1.png)",
        "<table>",
    ]
    assert images == {"n_1.png": b"hello"}


def test_a_notebook_with_an_error_is_refused() -> None:
    error = nbformat.v4.new_output("error", ename="KeyError", evalue="depth", traceback=[])
    cell = nbformat.v4.new_code_cell("x", outputs=[error])
    with pytest.raises(ValueError, match="KeyError: depth"):
        page(nbformat.v4.new_notebook(cells=[cell]), "n")


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ('<script src="//cdn.org/a.js"></script>', ["//cdn.org/a.js"]),
        ('<link rel="stylesheet" href="https://fonts.org/a.css">', ["https://fonts.org/a.css"]),
        ('<link rel="canonical" href="https://here.org/">', []),
        ('<a href="https://arxiv.org"><img src="../images/a.png"></a>', []),
    ],
)
def test_what_a_browser_would_fetch(html: str, expected: list[str]) -> None:
    assert loaded_from_elsewhere(html) == expected


def test_doctests_are_fenced_and_nothing_else() -> None:
    text = "First.\n\n>>> 1\n1\n\nRaises:\n    ValueError: no."
    assert fenced(text) == "First.\n\n```pycon\n>>> 1\n1\n```\n\nRaises:\n    ValueError: no."


def test_a_block_knows_its_mark_and_what_it_prints() -> None:
    text = "a\n<!-- run with: x as y -->\n```python\nprint('x')\n```\n\n```text\nx\n```\n"
    [block] = blocks_of(text, "d.md")
    assert (block.line, block.code, block.told) == (4, "print('y')\n", "x\n")
    with pytest.raises(ValueError, match=r"d\.md:4"):
        blocks_of("b\n<!-- never mind -->\n```sh\nls\n```\n", "d.md")


def test_citation_names_this_version_and_the_paper() -> None:
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert found["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(found)
    assert found["version"] == taskdepth.__version__
    [paper] = found["references"]
    assert paper["identifiers"][0]["value"] == "arXiv:2410.20008"
