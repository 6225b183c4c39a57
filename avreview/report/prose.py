"""The running text and the examples of rule cards: paragraphs and lists filled to the page's width."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avreview.report.page import Page

_BULLET = re.compile(r"(\s*)([-*]|\d+\.)\s+(?=\S)")


def write_prose(page: Page, text: str, *, indent: int, style: str = "") -> None:
    """Writes paragraphs parted by empty lines, and lists whose entries begin with `- ` or `1. `."""
    for number, (bullet, depth, words) in enumerate(pieces(text)):
        if number and not bullet and words:
            page.blank()
        lead = page.text(" " * (indent + depth) + bullet) if bullet else None
        margin = indent + depth + (len(bullet) + 1 if bullet else 0)
        page.block(page.text(words, style), indent=margin, lead=lead)


def write_code(page: Page, text: str, *, indent: int) -> None:
    """Writes an example line by line, as it stands."""
    for line in textwrap.dedent(text.expandtabs(4)).strip("\n").split("\n"):
        page.put(page.text(line.rstrip(), "code"), indent=indent)


def pieces(text: str) -> Iterator[tuple[str, int, str]]:
    """A text's paragraphs and list entries: the bullet (or ""), its indentation in columns, and the words."""
    bullet, depth, words = "", 0, list[str]()
    for line in [*text.strip("\n").split("\n"), ""]:
        match = _BULLET.match(line)
        outside = bool(bullet) and len(line) - len(line.lstrip()) <= depth
        if (match or outside or not line.strip()) and words:
            yield bullet, depth, " ".join(words)
            bullet, depth, words = "", 0, []
        if match:
            bullet, depth = match[2], len(match[1])
            line = line[match.end() :]
        words += line.split()
