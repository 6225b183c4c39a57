"""Text from a reviewed file in Markdown: read as text by every renderer, and harmless on a forge.

A forge does more with a comment than render it: it notifies whoever is mentioned, and links issues. What would do
that is written as a visible escape, as control characters are.
"""

from __future__ import annotations

import re

from avreview.report.escape import plain

_MENTION = re.compile(r"(?<!\w)@(?=\w)")
_REFERENCE = re.compile(r"#(?=\d)|(?<=\bGH)-(?=\d)", re.IGNORECASE)  # `#12`, `GH-12`: an issue
_LINK = re.compile(r":(?=//)|(?<=\bwww)\.", re.IGNORECASE)
_INLINE = re.compile(r"[\\`*\[\]<>|~$]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")
_START = re.compile(r"^(\d+(?=[.)](?:\s|$))|(?=[-+#=>]))(.)")  # of a list, a heading or a quotation
_CODE = re.compile(r"`([^`]+)`")


def inline(text: str, limit: int) -> str:
    """`text` on one line, in which nothing is markup, a link or a mention."""
    return _escaped(plain(text, limit))


def prose(text: str, limit: int) -> str:
    """Running text on one line, where what stands in backticks is code and nothing else is markup."""
    pieces = _CODE.split(plain(" ".join(text.split()), limit))
    return "".join(_span(piece) if place % 2 else _escaped(piece) for place, piece in enumerate(pieces))


def code(text: str, limit: int) -> str:
    """`text` as a code span, in a table too; `""` for what is empty or blank, which makes none."""
    return _span(plain(text, limit))


def _escaped(text: str) -> str:
    text = _MENTION.sub(r"\\x40", text)
    text = _REFERENCE.sub(lambda match: rf"\x{ord(match[0]):02x}", text)
    text = _INLINE.sub(lambda match: "\\" + match[0], text)
    text = _LINK.sub(lambda match: "\\" + match[0], text)
    return _START.sub(r"\1\\\2", text)


def _span(text: str) -> str:
    if not text.strip():
        return f'"{text}"'
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    # A cell of a table ends at a bar, in code too, where no escape shows as the bar alone but this one.
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", "\\|")
