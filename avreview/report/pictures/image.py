"""An image with its labels: where they put things, where those were found, and lines between the two."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from avreview.report.pictures.reading import Seen
from avreview.report.pictures.shapes import Circle, Image, Line, Panel, Point, Shape
from avreview.report.values import count

_WIDTH = 520.0
_HIGHEST = 720.0
_CROSS, _RING = 4.5, 6.5  # pixels from the middle of a mark


def panel_of(seen: Seen, title: str) -> Panel:
    scale = min(_WIDTH / seen.width, _HIGHEST / seen.height)
    width, height = seen.width * scale, seen.height * scale

    def at(u: float, v: float) -> Point:
        return (u * scale, v * scale)

    shapes: list[Shape] = [Image(seen.pixels)] if seen.pixels else []
    shapes += [Line([at(*row[n : n + 2]) for n in range(0, len(row), 2)], "hull", closed=True) for row in seen.hulls]
    for box in seen.boxes:
        shapes += _box(box, scale)
    pairs = [(at(*put), at(*found)) for put, found in zip(seen.labels, seen.markers, strict=False)]
    for put, found in pairs:
        if not math.isnan(put[0] + found[0]):
            shapes.append(Line([put, found], "error"))
    shapes += [Circle(at(*found), _RING, "found") for found in seen.markers if not math.isnan(found[0])]
    shapes += [line for put in seen.labels if not math.isnan(put[0]) for line in cross(*at(*put))]
    return Panel(title, f"{title}: {_told(seen)}", width, height, shapes)


def _told(seen: Seen) -> str:
    told = [count(len(seen.boxes), "2-D box", "2-D boxes")] if seen.boxes else []
    told += [count(len(seen.hulls), "outline of what is to be seen", "outlines of what is to be seen")] * bool(
        seen.hulls
    )
    apart = [math.dist(put, found) for put, found in zip(seen.labels, seen.markers, strict=False)]
    known = [value for value in apart if not math.isnan(value)]
    if known:
        told.append(f"{count(len(known), 'marker')}, up to {max(known):.3g} px from where the labels put it")
    return "the image with " + ", ".join(told) if told else "the image"


def _box(box: Sequence[float], scale: float) -> Iterator[Shape]:
    left, top, right, bottom = (value * scale for value in box)
    if not math.isnan(left):
        yield Line([(left, top), (right, top), (right, bottom), (left, bottom)], "box-2d", closed=True)


def cross(u: float, v: float) -> list[Shape]:
    """The mark of where something is put."""
    return [
        Line([(u - _CROSS, v - _CROSS), (u + _CROSS, v + _CROSS)], "put"),
        Line([(u - _CROSS, v + _CROSS), (u + _CROSS, v - _CROSS)], "put"),
    ]
