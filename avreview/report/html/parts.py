"""The small parts that every section is made of: verdicts, names, tables, folded text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from avreview.engine.review import Severity, Verdict
from avreview.report.escape import plain
from avreview.report.html.markup import Markup, el, join, text
from avreview.report.html.room import Room, left_out
from avreview.report.values import show, words

MARKS = {"fail": "✗", "attention": "!", "pass": "✓", "not-assessed": "?", "not-applicable": "–"}
NAME = 160  # characters of a name
_CELL = 160
_SHORT = 32  # characters up to which a cell stays on one line
_COLUMNS = 16
_ONLY = 2  # the level of the headings of a review's sections where it is the only one
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]{0,30})")
_ROWS = 400


def verdict_mark(verdict: Verdict | str, says: str | None = None) -> Markup:
    """A verdict as a mark and a word: never in colour alone."""
    kind = str(verdict)
    return el("span", el("span", MARKS[kind], aria_hidden="true"), " ", says or words(kind), class_=f"verdict {kind}")


def severity_mark(severity: Severity) -> Markup:
    return el("span", str(severity), class_=f"severity {severity}")


def name(words_: object, limit: int = NAME) -> Markup:
    """A name from a reviewed file."""
    return el("code", text(words_, limit))


def anchor(*parts: object) -> str:
    """An id for an element: letters, digits and hyphens, whatever the parts hold."""
    written = "-".join(map(str, parts))
    safe = re.sub(r"[^A-Za-z0-9-]", "", written)
    if safe == written and len(safe) <= 80:
        return safe
    return f"{safe[:60]}-{hashlib.sha256(written.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def heading(level: int, *words_: str, id: str | None = None) -> Markup:
    return el(f"h{min(level, 6)}", *words_, id=id)


def section(level: int, id: str, title: str, *children: str | None, class_: str | None = None) -> Markup:
    """A section with a heading; it is a landmark where no other review of the page has one of that name."""
    titled = heading(level, title, id=f"{id}-title")
    named = f"{id}-title" if level <= _ONLY else None
    return el("section", titled, *children, id=id, aria_labelledby=named, class_=class_)


def label_of(what: str, prefix: str, level: int) -> str:
    """A landmark's label, with the number of its review where there are several."""
    return what if level <= _ONLY else f"{what}, review {prefix.removeprefix('r')}"


def fold(summary: str, *children: str | None, open: bool = False, class_: str | None = None) -> Markup:
    """Evidence on demand: closed on a screen unless `open`, and always open on paper."""
    return el("details", el("summary", summary), *children, open=open, class_=class_)


def facts(pairs: Sequence[tuple[str, str]], class_: str = "facts") -> Markup:
    """Labels and what they stand for."""
    return el("dl", *(el("div", el("dt", label), el("dd", fact)) for label, fact in pairs), class_=class_)


def data_table(caption: str, rows: Sequence[Mapping[str, Any]], room: Room, most: int = _ROWS) -> Markup:
    """Rows of plain values, in the order of their keys; says what was left out."""
    names = list(dict.fromkeys(key for row in rows[:most] for key in row))
    kept = names[:_COLUMNS]
    numeric = {key for key in kept if all(_is_number(row.get(key)) for row in rows[:most])}

    def line(row: Mapping[str, Any]) -> Markup:
        return join(_cell(row.get(key), first=place == 0, numeric=key in numeric) for place, key in enumerate(kept))

    heads = [(key.replace("_", " ") or "(empty)", key in numeric) for key in kept]
    drawn, more = room.fill(rows, lambda row: el("tr", line(row)), most)
    lost = left_out(len(names) - len(kept), "column")
    return join([table(caption, heads, drawn, class_="data"), left_out(more, "row"), lost])


def table(
    caption: str,
    heads: Sequence[tuple[str, bool]],
    lines: Sequence[Markup],
    *,
    hidden_caption: bool = False,
    class_: str | None = None,
) -> Markup:
    """A table that scrolls sideways by itself, with keys as well. `heads` says which are numbers."""
    hat = el("caption", el("span", text(caption), class_="unseen" if hidden_caption else None))
    head = join(el("th", text(label, _CELL), scope="col", class_="number" if right else None) for label, right in heads)
    whole = el("table", hat, el("thead", el("tr", head)), el("tbody", *lines), class_=class_)
    return el("div", whole, class_="scroll", role="group", tabindex=0, aria_label=caption)


def _cell(value: Any, *, first: bool, numeric: bool) -> Markup:
    words_ = "" if value is None else show(value)
    kinds = ["number"] * numeric + ["long"] * (len(words_) > _SHORT)
    shown = text(words_, _CELL)
    if first:
        return el("th", shown, scope="row", class_=" ".join(kinds) or None)
    return el("td", shown, class_=" ".join(kinds) or None)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def options_in(words_: str, limit: int) -> Markup:
    """A sentence of the review, in which an option such as `--checkpoint` is not broken over two lines."""
    pieces = _OPTION.split(plain(words_, limit))
    return join(el("span", piece, class_="option") if place % 2 else text(piece) for place, piece in enumerate(pieces))
