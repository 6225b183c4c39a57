"""What was measured of the augmentations: each with its picture at the worst seed, and every measure in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avreview.augment.kinds import KINDS, accepted, amount
from avreview.engine.review import Review
from avreview.report.html.markup import Markup, el, join, text
from avreview.report.html.parts import anchor, data_table, section, verdict_mark
from avreview.report.html.room import Room, Rooms, left_out
from avreview.report.pictures.rows import ending, entries, row_of
from avreview.report.pictures.vector import key_svg, panel_svg
from avreview.report.values import count

NAME = "augmentations"
_MOST = 100
_WORDS = 600
_VERDICTS = {
    "off": ("fail", "off"),
    "fine": ("pass", "fine"),
    "failed": ("not-assessed", "did not run"),
    "not-judged": ("not-assessed", "not judged"),
    "unchanged": ("not-assessed", "changed nothing"),
}


def has_pictures(review: Review) -> bool:
    """Whether the page may show images of its own: its policy has to allow them."""
    return any(entry.get("picture") for entry in entries(review.evidence.get(NAME)))


def augmentations_section(review: Review, prefix: str, level: int, rooms: Rooms) -> Markup | None:
    """The whole and its members, those that are off unfolded; None where nothing was measured."""
    given = review.evidence.get(NAME)
    listed = entries(given)
    if not listed or not isinstance(given, Mapping):
        return None
    figures, lost = _figures(listed[:_MOST], rooms.pictures)
    drawn = [_entry(entry, figures.get(place), rooms.tables) for place, entry in enumerate(listed[:_MOST])]
    return section(
        level, anchor(prefix, NAME), "What the augmentations did", el("p", text(_run(given), _WORDS), class_="lead"),
        *drawn, left_out(len(listed) - len(drawn), "augmentation"), left_out(lost, "picture"),
        class_="augmentations",
    )  # fmt: skip


def _figures(listed: Sequence[Mapping[str, Any]], room: Room) -> tuple[dict[int, Markup], int]:
    """The pictures by place, as many as there is room for, those of what is off first; and how many were left out."""
    order = sorted(range(len(listed)), key=lambda place: listed[place].get("state") != "off")
    found = {place: figure for place in order if (figure := _figure(listed[place], room)) is not None}
    drawn = {place: figure for place, figure in found.items() if figure}
    return drawn, len(found) - len(drawn)


def _run(given: Mapping[str, Any]) -> str:
    """What was run, and how, in a sentence."""
    libraries = given.get("libraries")
    used = (
        ", ".join(f"{name} {version}" for name, version in libraries.items()) if isinstance(libraries, Mapping) else ""
    )
    seeds = given.get("seeds")
    number = count(seeds, "seed") if isinstance(seeds, int) else "several seeds"
    return (
        f"{given.get('target', '')} was run on synthetic {given.get('kind', '')} scenes under {number}, in a process "
        f"of its own (adapter {given.get('adapter', '')}{f'; {used}' if used else ''}). What it did was measured from "
        "tagged points and coded markers; each picture shows the seed at which it is farthest off."
    )


def _entry(entry: Mapping[str, Any], figure: Markup | None, room: Room) -> Markup:
    state = str(entry.get("state"))
    kind, says = _VERDICTS.get(state, ("not-assessed", state))
    name = el("strong", text(entry.get("name", ""), 120))
    summary = el(
        "summary", name, " ", verdict_mark(kind, says), " ", el("span", text(ending(entry), _WORDS), class_="quiet")
    )
    return el(
        "details", summary, figure, _table(entry, room), _unjudged(entry), open=state == "off", class_="augmentation"
    )


def _figure(entry: Mapping[str, Any], room: Room) -> Markup | None:
    """The picture of an augmentation; empty where there is no room for it, None where there is none."""
    row = row_of(entry)
    if row is None:
        return None
    panels = [
        el("div", el("p", text(panel.title, 80), class_="label"), panel_svg(panel),
           class_="seen-above" if panel.title.startswith("from above") else "seen-image")
        for panel in row.panels
    ]  # fmt: skip
    keys = (el("span", key_svg(key), " ", text(key.words, 80)) for key in row.legend)
    legend = el("figcaption", *keys) if row.legend else None
    drawn = el("figure", el("div", *panels, class_="panels"), legend)
    if len(drawn) > room.left:
        return Markup()
    room.left -= len(drawn)
    return drawn


def _table(entry: Mapping[str, Any], room: Room) -> Markup | None:
    measures = entry.get("measures")
    rows = [row for row in measures if isinstance(row, Mapping)] if isinstance(measures, Sequence) else []
    if not rows:
        return None
    ordered = sorted(rows, key=lambda row: row.get("off") is not True)
    return data_table("Every measure at its worst", [_line(row) for row in ordered], room)


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    kind, worst, limit = KINDS.get(str(row.get("measure"))), row.get("worst"), row.get("limit")
    return {
        "measure": kind.title if kind else row.get("measure"),
        "verdict": "off" if row.get("off") is True else "fine",
        "worst": amount(worst, kind.unit) if kind and isinstance(worst, int | float) else "no number",
        "accepted": accepted(limit, kind) if kind and isinstance(limit, int | float) else None,
        "explanation": row.get("words"),
        "seed": row.get("seed"),
        "at": row.get("at"),
        "off": f"{row.get('samples_off')} of {row.get('samples')}",
        "rule": row.get("rule"),
    }


def _unjudged(entry: Mapping[str, Any]) -> Markup | None:
    reasons = entry.get("unjudged")
    if not isinstance(reasons, Mapping) or not reasons:
        return None
    items = []
    for measure, why in list(reasons.items())[:_MOST]:
        title = KINDS[measure].title if measure in KINDS else measure
        items.append(el("li", text(f"{title}: {why}", _WORDS)))
    return join([el("p", "Not judged:", class_="quiet"), el("ul", *items)])
