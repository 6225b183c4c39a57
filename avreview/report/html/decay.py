"""The decay map: which kinds of parameters are decayed, and by how much. Drawn from the table of question 6."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avreview.engine.review import Review
from avreview.report.html.markup import Markup, el, join, text
from avreview.report.html.parts import anchor, data_table, section
from avreview.report.html.room import Room
from avreview.report.values import count, number

_ITEM = 6
_HEIGHT = 30
_CHARACTER = 0.0105  # of a bar's width on a wide screen, that a character takes
_NARROW = 0.024  # and on a narrow one
_KINDS = re.compile(r"(\d+) (.+?)(?=, \d|$)")
_SHADES = 4
_BANDS = 24


class Band(NamedTuple):
    """Parameters that share their decay: `state` is `decayed`, `free` (of decay), `out` (of the optimizer) or
    `unknown`. `kinds` holds how many of each kind there are."""

    state: str
    title: str
    decay: float
    parameters: int
    elements: int | None
    kinds: Mapping[str, int]


def decay_section(review: Review, prefix: str, level: int, room: Room) -> Markup | None:
    """The map and its table; None where the review knows no groups."""
    answer = next((answer for answer in review.checklist if answer.item == _ITEM), None)
    rows = [row for row in answer.table if _is_group(row)] if answer is not None else []
    bands = _bands(rows)
    if not bands:
        return None
    most = max(band.parameters for band in bands)
    drawn = [_figure(band, most, bands) for band in bands[:_BANDS]]
    note = el(
        "p",
        "Each bar holds the parameters of one rate of decay, divided by kind; its length is their number. Biases and "
        "the scales and shifts of norms belong in the bars without decay.",
        class_="lead",
    )
    pictures = el("div", *drawn, class_="decay-map")
    body = data_table("Parameter groups of the optimizer", rows, room)
    return section(level, anchor(prefix, "decay"), "Decay map", note, pictures, body)


def _is_group(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("parameters"), int) and "decay" in row and "group" in row


def _bands(rows: Sequence[Mapping[str, Any]]) -> list[Band]:
    """Rows put together by their decay: the largest first, then those without, then what no group holds."""
    held: dict[tuple[str, str, float], list[Mapping[str, Any]]] = {}
    for row in rows:
        held.setdefault(_sort(row), []).append(row)
    order = {"decayed": 0, "free": 1, "unknown": 2, "out": 3}
    found = []
    for (state, title, decay), group in held.items():
        sizes = [row["elements"] for row in group if isinstance(row.get("elements"), int)]
        parameters = sum(max(row["parameters"], 0) for row in group)
        elements = sum(sizes) if len(sizes) == len(group) else None
        found.append(Band(state, title, decay, parameters, elements, _kinds(group)))
    return sorted(found, key=lambda band: (order[band.state], -band.decay, band.title))


def _sort(row: Mapping[str, Any]) -> tuple[str, str, float]:
    decay, group = row.get("decay"), row.get("group")
    if isinstance(decay, int | float) and decay == decay:
        return ("decayed", f"decay {number(float(decay))}", float(decay)) if decay > 0 else ("free", "no decay", 0.0)
    if group in ("not optimized", "frozen"):
        return "out", str(group), 0.0
    return "unknown", "decay not stated", 0.0


def _kinds(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The number of parameters of each kind, under the name of a single one; the most numerous first."""
    found: dict[str, int] = {}
    for row in rows:
        for amount, kind in _KINDS.findall(str(row.get("kinds") or "")[:1000]):
            one = {"biases": "bias", "positions, queries or tokens": "position, query or token"}.get(kind)
            name = one or (kind.removesuffix("s") if not kind.endswith("ss") and kind != "bias" else kind)
            found[name] = found.get(name, 0) + int(amount[:9])
    return dict(sorted(found.items(), key=lambda entry: (-entry[1], entry[0])))


def _figure(band: Band, most: int, bands: Sequence[Band]) -> Markup:
    every = sum(other.elements or 0 for other in bands)
    size = count(band.parameters, "parameter")
    if band.elements is not None and every:
        size += f", {band.elements:,} elements ({band.elements / every:.1%} of all)"
    listed = ", ".join(f"{amount} × {kind}" for kind, amount in band.kinds.items())
    hat = el("figcaption", el("strong", text(band.title, 60)), f" {size}", class_="band")
    return el("figure", hat, _bar(band, most, f"{band.title}: {listed or size}"), class_=band.state)


def _bar(band: Band, most: int, says: str) -> Markup:
    kinds = band.kinds or {"kinds not known": band.parameters}
    whole = sum(kinds.values()) or 1
    length = band.parameters / max(most, 1)
    start = 0.0
    pieces = []
    for place, (kind, amount) in enumerate(kinds.items()):
        width = length * amount / whole
        pieces.append(_piece(start, width, f"{amount} × {kind}" if band.kinds else kind, place % _SHADES))
        start += width
    return el(
        "svg", el("title", text(says, 300)), *pieces, role="img", width="100%", height=_HEIGHT, class_="bar",
        focusable="false",
    )  # fmt: skip


def _piece(start: float, width: float, label: str, shade: int) -> Markup:
    """One kind's part of a bar, with its name where that fits: on wide screens in more pieces than on narrow ones."""
    fits = None
    if width >= _CHARACTER * (len(label) + 2):
        fits = "fits" if width >= _NARROW * (len(label) + 2) else "fits-wide"
    words = el("text", text(label, 60), x=8, y=20, class_=fits) if fits else None
    box = el("rect", width="100%", height="100%", class_=f"shade-{shade}")
    return el(
        "svg", join([box, words]), x=f"{start:.3%}", width=f"{width:.3%}", height=_HEIGHT, aria_hidden="true",
        overflow="hidden",
    )  # fmt: skip
