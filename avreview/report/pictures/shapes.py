"""What a picture is made of, whichever way it is drawn: lines, dots, circles, words and images in panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from avreview.report.pictures.pixels import Pixels

Point = tuple[float, float]


class Style(NamedTuple):
    """How a shape is drawn. `stroke` and `fill` are names of COLOURS, None for none; `width` is in pixels."""

    stroke: str | None = None
    width: float = 1.0
    fill: str | None = None
    dashed: bool = False
    halo: bool = False  # a dark line beneath, so that it is seen on any image


STYLES: Mapping[str, Style] = {
    "back": Style(fill="sheet"),
    "frame": Style("line", 1),
    "grid": Style("line", 1),
    "scale": Style(fill="quiet"),
    "points": Style("points", 2),
    "ego": Style(fill="quiet"),
    "box": Style("ink", 1.5),
    "shown": Style("shown", 7),
    "tip-shown": Style(fill="shown"),
    "label": Style("label", 2),
    "tip-label": Style(fill="label"),
    "apart": Style("wrong", 2, dashed=True),
    "hull": Style("white", 1.5, dashed=True, halo=True),
    "box-2d": Style("yellow", 1.75, halo=True),
    "error": Style("red", 1.75, halo=True),
    "put": Style("yellow", 1.75, halo=True),
    "found": Style("cyan", 1.75, halo=True),
}
# Light, and dark; what lies on an image is the same in both.
COLOURS: Mapping[str, tuple[str, str]] = {
    "sheet": ("#ffffff", "#1b1f23"),
    "ink": ("#1c2126", "#e4e6e9"),
    "quiet": ("#565e68", "#a3abb5"),
    "line": ("#dfe1e4", "#30363c"),
    "points": ("#9aa3ad", "#5c6670"),
    "label": ("#1d4f91", "#8fb8f2"),
    "shown": ("#f2b75c", "#96671a"),
    "wrong": ("#a3161b", "#ff9f9a"),
    "white": ("#ffffff", "#ffffff"),
    "yellow": ("#ffe14d", "#ffe14d"),
    "red": ("#ff5a4f", "#ff5a4f"),
    "cyan": ("#4de1ff", "#4de1ff"),
    "dark": ("#14171a", "#14171a"),
}


class Line(NamedTuple):
    """A line through points; closed, or filled by its style, it is a polygon."""

    points: Sequence[Point]
    style: str
    closed: bool = False


class Dots(NamedTuple):
    """Many small dots of one style, as wide as its line."""

    points: Sequence[Point]
    style: str


class Circle(NamedTuple):
    centre: Point
    radius: float
    style: str


class Words(NamedTuple):
    """A short text whose beginning (or end, if `right`) stands at a point."""

    at: Point
    text: str
    style: str
    right: bool = False


class Image(NamedTuple):
    """Pixels that fill the panel."""

    pixels: Pixels


Shape = Line | Dots | Circle | Words | Image


class Panel(NamedTuple):
    """One part of a picture. What leaves its borders is cut off. `says` tells in words what is to be seen."""

    title: str
    says: str
    width: float
    height: float
    shapes: Sequence[Shape]


class Key(NamedTuple):
    """A line of the legend: a mark of `KEY` pixels, and what it stands for."""

    shapes: Sequence[Shape]
    words: str


KEY = (24.0, 14.0)
KEY_LINE = 20.0  # pixels of a line of legends
_BESIDE = 16.0  # pixels to the border, and between neighbours


def flowing(lengths: Sequence[float], width: float) -> list[Point]:
    """Where the marks of a legend stand whose words are so long: one beside the other, in as many lines as it takes."""
    across, down = _BESIDE, 0.0
    places: list[Point] = []
    for length in lengths:
        needed = KEY[0] + 6 + length
        if places and across + needed > width:
            across, down = _BESIDE, down + KEY_LINE
        places.append((across, down))
        across += needed + _BESIDE
    return places


class Row(NamedTuple):
    """The picture of one augmentation: panels side by side under a line that names it and what is off."""

    name: str
    told: str  # what is off, or that nothing is
    off: bool
    panels: Sequence[Panel]
    legend: Sequence[Key]
