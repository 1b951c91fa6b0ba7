"""The fenced blocks of README.md and docs/*.md, and what their authors say about running them.

A comment directly above a fence speaks of it:

    <!-- not run: hub -->            it cannot run here, for one of `REASONS`
    <!-- run with: A as B -->        it runs with B in the place of A
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
REASONS = {
    "hub": "needs the Hugging Face hub, or files from it",
    "gpu": "needs a GPU",
    "account": "needs an account",
    "slurm": "needs a SLURM cluster",
    "minutes": "takes minutes",
    "setup": "sets this machine up, or is a target of the Makefile that .ci/run calls",
}
LANGUAGES = ("sh", "python", "text", "json", "yaml")
FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^(?P<indent> *)```(?P<language>[^\n]*)\n"
    r"(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
MARK = re.compile(r"not run: (?P<reason>\w+)|run with: (?P<shown>\S+) as (?P<used>\S+)")


@dataclass(frozen=True, slots=True)
class Block:
    """`line`: where its code begins; `reason`: why it is not run; `told`: the `text` block right below
    it, which is what it prints."""

    document: str
    line: int
    language: str
    shown: str
    reason: str | None = None
    instead: dict[str, str] = field(default_factory=dict)
    told: str | None = None

    @property
    def code(self) -> str:
        """What is run."""
        code = self.shown
        for shown, used in self.instead.items():
            code = code.replace(shown, used)
        return code

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def documents() -> list[str]:
    """Their paths below the checkout; first the one that is read first."""
    return ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def blocks(document: str) -> list[Block]:
    """In the order of the document."""
    return blocks_of((ROOT / document).read_text(encoding="utf-8"), document)


def blocks_of(text: str, document: str) -> list[Block]:
    """Those of a document's text.

    Raises:
        ValueError: a comment above a fence cannot be understood.

    >>> [block] = blocks_of("<!-- not run: hub -->\\n```sh\\npython train.py\\n```\\n", "a.md")
    >>> block.line, block.reason, block.code
    (3, 'hub', 'python train.py\\n')
    """
    found: list[Block] = []
    end = None
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        follows = end is not None and not text[end : match.start()].strip()
        if match["language"] == "text" and follows and found[-1].told is None:
            found[-1] = _telling(found[-1], match["code"])
        else:
            reason, instead = _said(match["mark"], f"{document}:{line}")
            found.append(Block(document, line, match["language"], match["code"], reason, instead))
        end = match.end()
    return found


def _telling(block: Block, told: str) -> Block:
    return Block(
        block.document, block.line, block.language, block.shown, block.reason, block.instead, told
    )


def _said(mark: str | None, where: str) -> tuple[str | None, dict[str, str]]:
    if mark is None:
        return None, {}
    said = MARK.fullmatch(mark)
    if said is None:
        raise ValueError(f"{where}: <!-- {mark} --> above a block says nothing about running it")
    return said["reason"], {said["shown"]: said["used"]} if said["shown"] else {}
