"""The report as YAML: the same structure as the JSON form, for people.

Written here rather than by PyYAML, whose emitter takes seconds for the tables of a large model, writes text that
runs backwards as it is, and may break a line in front of what a CI runner takes for a command. The tests read
everything back with PyYAML.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from avreview.report.escape import code, is_risky, is_visible
from avreview.report.structure import to_dict

if TYPE_CHECKING:
    from avreview.engine.review import Report

WIDTH = 110
_KEY = 1000  # YAML takes no longer key before a colon
_ROW = 240  # columns up to which a row of a table stays on one line

# What is left without quotes: begins with a letter or a slash, so that it can be no number and no date, and holds
# no `: ` and no ` #`. Within braces and brackets, nothing of theirs either.
_PLAIN = re.compile(r"[A-Za-z/](?:[^:#]|:(?=[\w/])|(?<=[\w/])#)*")
_PLAIN_IN_LINE = re.compile(r"[A-Za-z/](?:[^:#,?\[\]{}]|:(?=[\w/])|(?<=[\w/])#)*")
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"])  # mean something


def write(report: Report, stream: TextIO) -> None:
    """Writes the whole report, in the structure that `schema/report-1.json` describes."""
    write_structure(to_dict(report), stream)


def write_structure(structure: Mapping[str, Any], stream: TextIO) -> None:
    """Writes a mapping of JSON's types as block-style YAML without anchors or tags, in the order it has.

    No byte of it acts upon a terminal or a CI log: text that might is double-quoted, with escapes. Rows of tables
    and other small mappings take one line each.
    """
    writer = _Writer((getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf"))
    stream.writelines(f"{line}\n" for line in writer.mapping(structure, 0))


def quoted(text: str, *, unicode: bool = True) -> str:
    """`text` in double quotes on one line, with an escape for whatever is not plainly visible."""
    written = []
    for character in text:
        if character in '"\\':
            written.append("\\" + character)
        else:
            kept = is_visible(character) and (unicode or character.isascii())
            written.append(character if kept else code(character))
    return '"{}"'.format("".join(written)).replace("##", "#\\x23")


class _Writer:
    """Lines of YAML; every method gives those of one node, indented by a number of columns."""

    def __init__(self, unicode: bool) -> None:
        self.unicode = unicode

    def mapping(self, node: Mapping[str, Any], indent: int) -> Iterator[str]:
        margin = " " * indent
        for key, value in node.items():
            name = self.text(key)
            if len(name) < _KEY:
                yield from self.entry(f"{margin}{name}:", value, indent)
            else:
                yield f"{margin}? {name}"
                yield from self.entry(f"{margin}:", value, indent + 2 if isinstance(value, list) else indent)

    def entry(self, head: str, value: Any, indent: int) -> Iterator[str]:
        """A key or a dash, and its value: on the same line where it fits there."""
        inner = indent + 2
        if isinstance(value, str):
            yield from self.paragraph(head, value, inner)
        elif not isinstance(value, Mapping | list):
            yield f"{head} {_bare(value)}"
        elif line := self.line(value, WIDTH - len(head)):
            yield f"{head} {line}"
        elif isinstance(value, Mapping):
            yield head
            yield from self.mapping(value, inner)
        else:
            yield head
            yield from self.sequence(value, indent)

    def sequence(self, node: Sequence[Any], indent: int) -> Iterator[str]:
        margin = " " * indent
        for value in node:
            if isinstance(value, Mapping) and value:
                line = self.line(value, _ROW)
                lines = iter([margin + "  " + line]) if line else self.mapping(value, indent + 2)
                yield f"{margin}- {next(lines)[indent + 2 :]}"
                yield from lines
            else:
                yield from self.entry(f"{margin}-", value, indent + 2 if isinstance(value, list) else indent)

    def line(self, node: Any, room: int) -> str:
        """A mapping or list of nothing but short scalars on one line, or "" where that is not to be."""
        entries = list(node.values()) if isinstance(node, Mapping) else list(node)
        if any(isinstance(entry, Mapping | list) or (isinstance(entry, str) and "\n" in entry) for entry in entries):
            return ""
        values = [self.text(entry, inline=True) if isinstance(entry, str) else _bare(entry) for entry in entries]
        if isinstance(node, Mapping):
            keys = [self.text(key, inline=True) for key in node]
            line = "{" + ", ".join(f"{key}: {value}" for key, value in zip(keys, values, strict=True)) + "}"
        else:
            line = "[" + ", ".join(values) + "]"
        return line if len(line) < room or not entries else ""

    def paragraph(self, head: str, text: str, indent: int) -> Iterator[str]:
        """Text behind its key; long text and text of several lines as a block below it, where a block can hold it."""
        if not self.fits_block(text):
            yield f"{head} {self.text(text)}"
        elif "\n" in text:
            yield f"{head} {'|' if text.endswith(chr(10)) else '|-'}"
            yield from textwrap.indent(text.removesuffix("\n"), " " * indent).split("\n")
        elif len(head) + len(text) < WIDTH or "  " in text:
            yield f"{head} {self.text(text)}"
        else:
            yield f"{head} >-"
            margin = " " * indent
            yield from textwrap.wrap(
                text, WIDTH, initial_indent=margin, subsequent_indent=margin,
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip

    def fits_block(self, text: str) -> bool:
        """True for text that reads back from a block as it was: nothing hidden, no space where YAML counts them."""
        lines = text.split("\n")
        last = lines[-2] if len(lines) > 1 and not lines[-1] else lines[-1]
        return (
            not is_risky(text)
            and (self.unicode or text.isascii())
            and all(not line or (line.strip(" ") and line[-1] != " ") for line in lines)
            and bool(lines[0]) and lines[0][0] != " " and bool(last)
        )  # fmt: skip

    def text(self, text: str, *, inline: bool = False) -> str:
        """A text on one line, quoted where it has to be."""
        pattern = _PLAIN_IN_LINE if inline else _PLAIN
        simple = pattern.fullmatch(text) and text[-1] not in ": " and text.lower() not in _WORDS
        if simple and "\n" not in text and not is_risky(text) and (self.unicode or text.isascii()):
            return text
        return quoted(text, unicode=self.unicode)


def _bare(value: object) -> str:
    """A number, a truth or nothing, as YAML 1.1 and 1.2 both read it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    written = repr(value)
    return written.replace("e", ".0e") if isinstance(value, float) and "." not in written else written
