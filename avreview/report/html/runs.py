"""What was run, on which inputs; and what the runs measured that no section of its own shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avreview.engine.review import Review
from avreview.report.html.markup import Markup, el, join, text
from avreview.report.html.parts import anchor, data_table, fold, name, section, table
from avreview.report.html.room import Room
from avreview.report.values import count, show

_REASON = 600
_RUNS = 100
_ARRAYS = 32
_DEEPEST = 3


def runs_section(review: Review, prefix: str, level: int) -> Markup | None:
    """One line for each probe that was started; None where nothing was run."""
    runs = review.evidence.get("probes") or ()
    if not runs:
        return None
    lines = [
        el(
            "tr",
            el("th", name(run.get("probe", ""), 60), scope="row"),
            el("td", _inputs(run.get("inputs"))),
            el("td", text(run["reason"], _REASON) if run.get("reason") else "ran"),
        )
        for run in runs[:_RUNS]
    ]
    heads = [("Probe", False), ("Inputs", False), ("Outcome", False)]
    lead = el("p", "Each probe ran the model in a process of its own, because the command line asked for it.",
              class_="lead")  # fmt: skip
    return section(level, anchor(prefix, "runs"), "What was run", lead, table("Probes and their inputs", heads, lines))


def _inputs(given: Mapping[str, Any] | None) -> Markup:
    if not given:
        return Markup("none came to be")
    arrays = [
        el("li", name(array.get("name", ""), 60), " ", text(array.get("kind", ""), 60), ", ",
           text(array.get("dtype", ""), 20), f" {show_shape(array.get('shape', ()))}")
        for array in list(given.get("arrays", ()))[:_ARRAYS]
    ]  # fmt: skip
    source = (
        join(["from ", name(given["given"])]) if given.get("given") else text(f"made up from seed {given.get('seed')}")
    )
    return join([el("ul", *arrays, class_="plain"), source])


def show_shape(shape: Sequence[Any]) -> str:
    """`2 × 3 × 40 × 80`."""
    return " × ".join(str(extent)[:12] for extent in list(shape)[:16]) or "scalar"


def measured_section(evidence: Mapping[str, Any], prefix: str, level: int, room: Room) -> Markup | None:
    """Evidence that no other section shows, as tables on demand."""
    if not evidence:
        return None
    parts = [fold(key.replace("_", " "), nested(key, value, room)) for key, value in list(evidence.items())[:_RUNS]]
    return section(level, anchor(prefix, "measured"), "Further measurements", *parts)


def nested(title: str, value: Any, room: Room, depth: int = 0) -> Markup:
    """A table for rows, a list of labelled values for a mapping, and text for the rest."""
    if isinstance(value, Mapping) and value and depth < _DEEPEST:
        plain = {key: entry for key, entry in value.items() if not _is_nested(entry)}
        deeper = [(str(key), entry) for key, entry in value.items() if _is_nested(entry)][:_RUNS]
        rows = [{"name": key, "value": show(entry)} for key, entry in plain.items()]
        body = data_table(title[:80].replace("_", " "), rows, room) if rows else None
        return join([body, *(fold(text(key, 80), nested(key, entry, room, depth + 1)) for key, entry in deeper)])
    if _is_rows(value):
        return join([el("p", count(len(value), "row"), class_="quiet"), data_table(title[:80], value, room)])
    return el("p", text(show(value), _REASON))


def _is_nested(value: Any) -> bool:
    return _is_rows(value) or isinstance(value, Mapping)


def _is_rows(value: Any) -> bool:
    return isinstance(value, Sequence) and bool(value) and all(isinstance(row, Mapping) for row in value)
