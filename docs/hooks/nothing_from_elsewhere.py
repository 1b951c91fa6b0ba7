"""The site can be read without a network: a page that would load something from elsewhere ends the build."""

from __future__ import annotations

import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.pages import Page

LOADED = re.compile(
    r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc=[\"']?((?:https?:)?//[^\"' >]+)"
    r"|<link\b(?![^>]*\brel=[\"']?canonical)[^>]*\bhref=[\"']?((?:https?:)?//[^\"' >]+)"
)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> None:
    if found := loaded_from_elsewhere(output):
        raise PluginError(f"{page.file.src_uri} loads {', '.join(found)}")


def loaded_from_elsewhere(html: str) -> list[str]:
    """The addresses that a browser would fetch to show the page; links to click on are none of them.

    >>> loaded_from_elsewhere('<a href="https://a.org">a</a><img src="https://b.org/b.png">')
    ['https://b.org/b.png']
    """
    return [first or second for first, second in LOADED.findall(html)]
