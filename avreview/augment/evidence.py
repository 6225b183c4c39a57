"""A measurement as a report keeps it: one entry an augmentation, one row a measure, and the picture packed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from avreview.augment.judged import Judged, Limits, judged, names
from avreview.augment.kinds import KINDS
from avreview.augment.model import Augmented, Measured
from avreview.load.wording import shortened

_MEMBERS = 100
_NAME = 200  # characters
_WORDS = 500
_NOTES = 20
_LISTS = ("points", "boxes", "labels", "shown", "hulls", "markers")  # of a panel
_FIELDS: Mapping[str, Any] = {"kind": str, "name": str, "width": (int, float), "height": (int, float), "png": str}
_PANELS = 4
_PNG = 4 << 20  # characters
_ROWS = 2000  # of such a list
_PLACES = 3  # decimal places of a coordinate


def evidence_of(augmented: Augmented, limits: Limits) -> dict[str, Any]:
    """The measurement in plain data. What its child process wrote is cut to what a report needs."""
    every = list(zip(names(augmented), augmented.all, strict=True))[: _MEMBERS + 1]
    return {
        "target": augmented.target,
        "kind": shortened(augmented.kind, _NAME),
        "adapter": shortened(augmented.adapter, _NAME),
        "seeds": augmented.seeds,
        "seed": augmented.seed,
        "libraries": {shortened(k, _NAME): shortened(v, _NAME) for k, v in list(augmented.libraries.items())[:_NOTES]},
        "notes": [shortened(note, _WORDS) for note in augmented.notes[:_NOTES]],
        "augmentations": [_entry(name, measured, limits) for name, measured in every],
    }


def _entry(name: str, measured: Measured, limits: Limits) -> dict[str, Any]:
    measures = judged(measured, limits)
    unjudged = {key: shortened(why, _WORDS) for key, why in measured.unjudged.items() if key in KINDS}
    entry: dict[str, Any] = {
        "name": shortened(name, _NAME),
        "place": measured.place,
        "state": _state(measured, measures),
        "changed": measured.changed,
        "culprit": measured.culprit and shortened(measured.culprit, _NAME),
        **({"failure": shortened(measured.failure, _WORDS)} if measured.failure else {}),
        "unjudged": unjudged,
        "measures": [_row(one) for one in measures],
    }
    picture = packed(measured.picture)
    return {**entry, "picture": picture} if picture else entry


def _state(measured: Measured, measures: Sequence[Judged]) -> str:
    """`failed` (it did not run), `off`, `not-judged` (nothing was measured), `unchanged` or `fine`."""
    if measured.failure:
        return "failed"
    if any(entry.off for entry in measures):
        return "off"
    if not measures:
        return "not-judged"
    return "fine" if measured.changed else "unchanged"


def _row(entry: Judged) -> dict[str, Any]:
    row = {
        "measure": entry.measure,
        "rule": entry.kind.rule,
        "worst": _rounded(entry.worst.value),
        "limit": _rounded(entry.limit),
        "unit": entry.kind.unit,
        "off": entry.off,
        "seed": entry.worst.seed,
        "at": shortened(entry.worst.entity, _NAME),
        "samples": entry.samples,
        "samples_off": entry.bad,
    }
    return {**row, "words": shortened(entry.words, _WORDS)} if entry.words else row


def _rounded(value: Any) -> float | None:
    """Six significant digits; None for what is no number."""
    return float(f"{value:.6g}") if isinstance(value, int | float) and math.isfinite(value) else None


def packed(picture: Any) -> dict[str, Any] | None:
    """A picture whose lists of coordinates are texts: rows parted by blanks, numbers by commas.

    A report then holds a list in a line and not in thousands. A row in which anything is no number becomes a hyphen.
    """
    if not isinstance(picture, Mapping) or not isinstance(picture.get("panels"), Sequence):
        return None
    panels = [_panel(panel) for panel in picture["panels"][:_PANELS] if _is_panel(panel)]
    seed, measure = picture.get("seed"), str(picture.get("measure", ""))
    found = {"seed": seed if isinstance(seed, int) else None, "measure": measure if measure in KINDS else None}
    return {**found, "panels": panels} if panels else None


def _is_panel(panel: Any) -> bool:
    return isinstance(panel, Mapping) and panel.get("kind") in ("bev", "image")


def _panel(panel: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: panel[key] for key, kind in _FIELDS.items() if isinstance(panel.get(key), kind)}
    kept["name"] = "after" if kept.get("name") == "after" else "before"
    if len(kept.get("png", "")) > _PNG:
        del kept["png"]
    for key in _LISTS:
        rows = panel.get(key)
        if isinstance(rows, Sequence) and rows and not isinstance(rows, str):
            kept[key] = " ".join(map(_written, rows[:_ROWS]))
    return kept


def _written(row: Any) -> str:
    """`[1.25, 2]` as `1.25,2`; the corners of an outline one after another."""
    entries = row[:_ROWS] if isinstance(row, Sequence) and not isinstance(row, str) else [None]
    flat = [number for entry in entries for number in (entry if isinstance(entry, Sequence) else [entry])]
    if not flat or not all(isinstance(number, int | float) and math.isfinite(number) for number in flat):
        return "-"
    return ",".join(f"{number:.{_PLACES}f}".rstrip("0").rstrip(".") for number in flat)
