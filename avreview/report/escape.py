"""Text from a reviewed file, made safe to print.

A name in a model can hold anything: escape sequences, text that runs backwards, a command for the CI runner. What is
not plainly visible is written as an escape that is (`\\x1b`, `\\u202e`), so that the reader sees that it is there.
"""

from __future__ import annotations

import re
import unicodedata

# Marks and letters that count as printable but draw nothing, or change how their neighbour is drawn.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_MARKS_IN_A_ROW = 2  # accents that written languages put on one letter; more of them climb over other lines
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# CI runners obey lines of a log. GitHub trims a line and looks for `::` at its start, so every word that might come
# to stand there counts; `##[` (GitHub), `##vso[` (Azure) and `##teamcity[` are found anywhere in a line.
_COMMAND_AT_WORD = re.compile(r"(^|\s)::")
_COMMAND_AT_LINE = re.compile(r"^(\s*)::")


def plain(text: str, limit: int | None = None) -> str:
    """`text` on one line and plainly visible, cut in the middle to at most `limit` characters.

    Control and format characters, line separators, lone surrogates and unassigned code points become escapes
    such as `\\x1b`; commands to a CI runner become harmless.
    """
    if limit is not None and len(text) > 2 * limit:  # a 10 MB name is not escaped only to be cut
        text = text[:limit] + text[-limit:]
    if not (text.isascii() and text.isprintable()):
        text = "".join(_escape_marks(text))
    if "##" in text or "::" in text:
        text = _COMMAND_AT_WORD.sub(r"\1:\\x3a", _defuse_marks(text))
    return text if limit is None else shorten(text, limit)


def shorten(text: str, limit: int, mark: str = "…") -> str:
    """`text` cut in the middle, where the names of one model differ least, to at most `limit` characters."""
    if len(text) <= limit:
        return text
    kept = max(limit - len(mark), 0)
    tail = kept // 2
    return text[: kept - tail] + mark + text[len(text) - tail :]


def defuse(line: str) -> str:
    """A finished line that no CI runner takes for a command, whatever the wrapping has brought to its start."""
    return _COMMAND_AT_LINE.sub(r"\1:\\x3a", _defuse_marks(line))


def is_risky(text: str) -> bool:
    """True when `text` (line breaks aside) must not be written as it is, even where quotes stand around it."""
    for line in text.split("\n"):
        if not line.isprintable() or "##" in line or _COMMAND_AT_WORD.search(line):
            return True
    return not text.isascii() and _INVISIBLE.search(text) is not None


def is_visible(character: str) -> bool:
    """True when the character is drawn, and drawn as itself."""
    return character.isprintable() and _INVISIBLE.match(character) is None


def code(character: str) -> str:
    """The escape that names a character: `\\x1b`, `\\u202e`, `\\U000e0001`. YAML reads it too."""
    point = ord(character)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def _escape_marks(text: str) -> list[str]:
    written = []
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if is_visible(character) and marks <= _MARKS_IN_A_ROW:
            written.append(character)
        else:
            written.append(_SHORT.get(character) or code(character))
    return written


def _defuse_marks(text: str) -> str:
    return text.replace("##", "#\\x23")
