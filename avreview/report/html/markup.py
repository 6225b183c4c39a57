"""HTML written piece by piece. Text becomes part of a page in one way only: escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable

from avreview.report.escape import plain

_VOID = frozenset({"br", "col", "hr", "input", "meta", "wbr"})
LONGEST = 2000  # characters of a text whose caller states no limit: nothing of a page is longer

Attribute = str | int | bool | None


class Markup(str):
    """Text that is HTML already. Whatever is not is escaped where it becomes part of an element."""

    __slots__ = ()


def text(words: object, limit: int = LONGEST) -> Markup:
    """`words` as a page shows them: on one line, plainly visible, at most `limit` characters, and never markup."""
    return Markup(html.escape(plain(str(words), limit)))


def el(tag: str, *children: str | None, **attributes: Attribute) -> Markup:
    """An element. None among the children or the attributes is left out, True writes an attribute's name alone.

    A trailing underscore of an attribute's name is dropped (`class_`), others become hyphens (`aria_label`).
    """
    head = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{head}>")
    return Markup(f"<{tag}{head}>{join(children)}</{tag}>")


def join(parts: Iterable[str | None], between: str = "") -> Markup:
    """Pieces one after another; those that are no markup are escaped, and `between` as well."""
    pieces = [part if isinstance(part, Markup) else text(part) for part in parts if part is not None]
    return Markup((between if isinstance(between, Markup) else text(between)).join(pieces))


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    written = name.rstrip("_").replace("_", "-")
    return f" {written}" if value is True else f' {written}="{text(value)}"'


def paragraphs(words: str, class_: str | None = None) -> Markup:
    """Running text of a rule card: paragraphs parted by empty lines, with `code` in backticks."""
    filled = [" ".join(paragraph.split()) for paragraph in words[: 10 * LONGEST].split("\n\n")]
    return join(el("p", code_in(paragraph), class_=class_) for paragraph in filled if paragraph)


def code_in(words: str) -> Markup:
    """`words`, where what stands between backticks is code; a backtick without its fellow stays as it is."""
    pieces = words.split("`")
    if len(pieces) % 2 == 0:
        return text(words)
    return join(el("code", piece) if place % 2 else text(piece) for place, piece in enumerate(pieces))
