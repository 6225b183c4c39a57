"""Panels as a PNG file, drawn by Pillow: for those who look at pictures outside of a report."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from avreview.errors import UsageError
from avreview.report.escape import plain
from avreview.report.pictures.shapes import (
    COLOURS,
    KEY,
    KEY_LINE,
    STYLES,
    Circle,
    Dots,
    Image,
    Line,
    Panel,
    Point,
    Row,
    Shape,
    Words,
    flowing,
)

if TYPE_CHECKING:
    import os

_SCALE = 2  # pixels of the file for one of the picture: sharp on any screen
_GAP, _HEAD = 16, 52
_DASH, _SPACE = 5, 3
_HALO = 5.5
_WORDS = 300
_FAR = 1e5  # pixels of the file


def write_png(row: Row, path: str | os.PathLike[str]) -> None:
    """Writes one row of panels. Raises UsageError where Pillow is not installed."""
    drawing = _pillow()[0]
    ruler = _Pen(drawing.new("RGB", (1, 1)))
    width = sum(panel.width for panel in row.panels) + _GAP * (len(row.panels) + 1)
    highest = max(panel.height for panel in row.panels)
    places = flowing([ruler.length(key.words, 13) for key in row.legend], width)
    legend = max((v for _, v in places), default=-KEY_LINE) + KEY_LINE
    height = _HEAD + highest + legend + _GAP
    sheet = drawing.new("RGB", (round(width * _SCALE), round(height * _SCALE)), COLOURS["sheet"][0])
    pen = _Pen(sheet)
    name = plain(row.name, 120)
    pen.words((_GAP, 8), name, 17, "ink")
    pen.words((_GAP + pen.length(name, 17) + 14, 11), plain(row.told, _WORDS), 13, "wrong" if row.off else "quiet")
    across = float(_GAP)
    for panel in row.panels:
        pen.words((across, _HEAD - 18), plain(panel.title, 80), 13, "quiet")
        sheet.paste(_panel(panel), (round(across * _SCALE), _HEAD * _SCALE))
        across += panel.width + _GAP
    for key, (u, v) in zip(row.legend, places, strict=True):
        down = _HEAD + highest + 8 + v
        sheet.paste(_panel(Panel("", "", *KEY, key.shapes), framed=False), (round(u * _SCALE), round(down * _SCALE)))
        pen.words((u + KEY[0] + 6, down - 1), key.words, 13, "quiet")
    sheet.save(path, "PNG", optimize=True)


def require_pillow() -> None:
    """Raises UsageError where Pillow is not installed."""
    _pillow()


def _pillow() -> tuple[Any, Any, Any]:
    try:
        from PIL import Image as Drawing
        from PIL import ImageDraw, ImageFont
    except ImportError:
        needed = "pictures as PNG need Pillow; install it with `pip install avreview[pictures]`"
        raise UsageError(needed) from None
    return Drawing, ImageDraw, ImageFont


def _panel(panel: Panel, *, framed: bool = True) -> Any:
    drawing = _pillow()[0]
    size = (round(panel.width * _SCALE), round(panel.height * _SCALE))
    sheet = drawing.new("RGB", size, COLOURS["sheet"][0])
    pen = _Pen(sheet)
    for shape in panel.shapes:
        if isinstance(shape, Image):
            with drawing.open(io.BytesIO(shape.pixels.data), formats=["PNG"]) as pixels:
                sheet.paste(pixels.convert("RGB").resize(size))
        else:
            pen.draw(shape)
    if framed:
        border = [(0.0, 0.0), (panel.width, 0.0), (panel.width, panel.height), (0.0, panel.height)]
        pen.draw(Line(border, "frame", closed=True))
    return sheet


class _Pen:
    """Draws shapes on a sheet whose pixels are finer than those of the shapes by `_SCALE`."""

    def __init__(self, sheet: Any) -> None:
        _, draw, self._fonts = _pillow()
        self._draw = draw.Draw(sheet)

    def words(self, at: tuple[float, float], text: str, size: int, colour: str) -> None:
        place = (at[0] * _SCALE, at[1] * _SCALE)
        self._draw.text(place, text, fill=COLOURS[colour][0], font=self._fonts.load_default(size * _SCALE))

    def length(self, text: str, size: int) -> float:
        return float(self._fonts.load_default(size * _SCALE).getlength(text)) / _SCALE

    def draw(self, shape: Shape) -> None:
        if isinstance(shape, Words):
            u, v = shape.at
            self.words((u - (self.length(shape.text, 11) if shape.right else 0), v - 11), shape.text, 11, "quiet")
        elif isinstance(shape, Dots):
            self._dots(shape)
        elif not isinstance(shape, Image):
            style = STYLES[shape.style]
            if style.halo:
                self._stroke(shape, "dark", _HALO, dashed=False)
            if style.fill and isinstance(shape, Line):
                self._draw.polygon(_scaled(shape.points), fill=COLOURS[style.fill][0])
            if style.stroke:
                self._stroke(shape, style.stroke, style.width, dashed=style.dashed)

    def _dots(self, dots: Dots) -> None:
        style = STYLES[dots.style]
        half = style.width * _SCALE / 2
        for u, v in _scaled(dots.points):
            self._draw.ellipse((u - half, v - half, u + half, v + half), fill=COLOURS[style.stroke or "ink"][0])

    def _stroke(self, shape: Line | Circle, colour: str, width: float, *, dashed: bool) -> None:
        broad = max(round(width * _SCALE), 1)
        if isinstance(shape, Circle):
            (u, v), radius = _scaled([shape.centre])[0], shape.radius * _SCALE + broad / 2
            self._draw.ellipse(
                (u - radius, v - radius, u + radius, v + radius), outline=COLOURS[colour][0], width=broad
            )
            return
        points = _scaled([*shape.points, *shape.points[: 1 if shape.closed else 0]])
        for start, end in itertools.pairwise(points):
            for piece in _dashes(start, end) if dashed else [(start, end)]:
                self._draw.line(piece, fill=COLOURS[colour][0], width=broad)


_Place = tuple[float, float]


def _scaled(points: Sequence[Point]) -> list[_Place]:
    """In pixels of the file; what lies far outside is drawn to the same border, and not to where it is."""
    return [(_bounded(u * _SCALE), _bounded(v * _SCALE)) for u, v in points]


def _bounded(value: float) -> float:
    return min(max(value, -_FAR), _FAR)


def _dashes(start: _Place, end: _Place) -> list[tuple[_Place, _Place]]:
    length = math.dist(start, end)
    step = (_DASH + _SPACE) * _SCALE
    if not 0 < length < 1e4:
        return [(start, end)]

    def at(along: float) -> _Place:
        share = min(along / length, 1.0)
        return (start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]))

    return [(at(n * step), at(n * step + _DASH * _SCALE)) for n in range(int(length / step) + 1)]
