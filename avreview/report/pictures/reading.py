"""The picture in a report's evidence, read warily: it may come from a report that was written elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avreview.report.pictures.pixels import Pixels, sound

_POINTS = 1500
_ROWS = 400  # of any other list
_CORNERS = 64  # of an outline
_FARTHEST = 1e6  # m or px: what is farther is no place of a picture
_LONGEST = 200_000  # characters of a list
_PANELS = 4


class Seen(NamedTuple):
    """What one panel holds; rows of numbers, all finite. `kind` is `bev` or `image`."""

    kind: str
    name: str
    points: Sequence[Sequence[float]] = ()
    boxes: Sequence[Sequence[float]] = ()
    labels: Sequence[Sequence[float]] = ()
    shown: Sequence[Sequence[float]] = ()
    hulls: Sequence[Sequence[float]] = ()
    markers: Sequence[Sequence[float]] = ()
    width: float = 0.0
    height: float = 0.0
    pixels: Pixels | None = None


def panels(picture: Any) -> list[Seen]:
    """The panels that can be drawn, at most `_PANELS`."""
    listed = picture.get("panels") if isinstance(picture, Mapping) else None
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        return []
    found = [_panel(entry) for entry in listed[:_PANELS] if isinstance(entry, Mapping)]
    return [panel for panel in found if panel is not None]


def _panel(given: Mapping[str, Any]) -> Seen | None:
    name = "after" if given.get("name") == "after" else "before"
    if given.get("kind") == "bev":
        return Seen(
            "bev", name,
            points=_rows(given.get("points"), 2, _POINTS), boxes=_rows(given.get("boxes"), 5),
            labels=_rows(given.get("labels"), 4), shown=_rows(given.get("shown"), 4),
        )  # fmt: skip
    width, height = (_extent(given.get(key)) for key in ("width", "height"))
    if given.get("kind") != "image" or not width or not height:
        return None
    return Seen(
        "image", name, width=width, height=height, pixels=sound(given.get("png")),
        boxes=_rows(given.get("boxes"), 4), hulls=_rows(given.get("hulls"), None),
        labels=_rows(given.get("labels"), 2), markers=_rows(given.get("markers"), 2),
    )  # fmt: skip


def _extent(value: Any) -> float:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= 10_000
    return float(value) if fits else 0.0


def _rows(text: Any, length: int | None, most: int = _ROWS) -> list[list[float]]:
    """Rows of so many numbers, or of an outline's corners; those that are not are left out, one by one.

    A row that is left out stays as one of no place (NaN), so that labels and markers keep their pairs.
    """
    if not isinstance(text, str):
        return []
    rows = [_numbers(row) for row in text[:_LONGEST].split()[:most]]
    if length is None:
        return [row for row in rows if 6 <= len(row) <= 2 * _CORNERS and len(row) % 2 == 0]
    return [row if len(row) == length else [math.nan] * length for row in rows]


def _numbers(row: str) -> list[float]:
    """The numbers of a row; none where one of them is none, or is too large for any picture."""
    try:
        found = [float(number) for number in row.split(",", 2 * _CORNERS)]
    except ValueError:
        return []
    return found if all(abs(number) <= _FARTHEST for number in found) else []
