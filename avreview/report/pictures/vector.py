"""Panels as SVG: inside a page, whose style sheet colours them, or as a file of its own with both colourings in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from avreview.report.html.markup import Markup, el, join, text
from avreview.report.pictures.shapes import (
    COLOURS,
    KEY,
    KEY_LINE,
    STYLES,
    Circle,
    Dots,
    Image,
    Key,
    Line,
    Panel,
    Point,
    Row,
    Shape,
    Words,
    flowing,
)

if TYPE_CHECKING:
    from avreview.report.pictures.shapes import Style

_TITLE = 300
_SAYS = 600
_GAP, _HEAD = 16, 52  # pixels between panels, and above them
_CHARACTER = 6.9  # pixels of a character, about
_HALO = 5.5  # pixels, of the dark line beneath
_NAMESPACE = "http://www.w3.org/2000/svg"


def panel_svg(panel: Panel, place: tuple[float, float] | None = None) -> Markup:
    """A panel that takes the width there is; or one at a place of a larger picture."""
    width, height = _number(panel.width), _number(panel.height)
    where = {"width": "100%"} if place is None else {
        "x": _number(place[0]), "y": _number(place[1]), "width": width, "height": height}  # fmt: skip
    shapes = (_shape(shape, panel) for shape in panel.shapes)
    back = el("rect", width=width, height=height, class_="p-back")
    frame = el("rect", width=width, height=height, class_="p-frame")
    return el(
        "svg", el("title", text(panel.says, _SAYS)), back, *shapes, frame, viewBox=f"0 0 {width} {height}", role="img",
        focusable="false", class_="panel", **where,
    )  # fmt: skip


def key_svg(key: Key, place: tuple[float, float] | None = None) -> Markup:
    """The mark of a line of the legend."""
    where = {} if place is None else {"x": _number(place[0]), "y": _number(place[1])}
    width, height = map(_number, KEY)
    panel = Panel("", "", *KEY, key.shapes)
    return el(
        "svg", *(_shape(shape, panel) for shape in key.shapes), width=width, height=height, aria_hidden="true", **where
    )


def _shape(shape: Shape, panel: Panel) -> Markup:
    if isinstance(shape, Image):
        source = f"data:image/png;base64,{shape.pixels.base64}"
        # Not through the attributes of `el`, which cuts long texts; base64 holds nothing that means something in HTML.
        size = f'width="{_number(panel.width)}" height="{_number(panel.height)}"'
        return Markup(f'<image {size} preserveAspectRatio="none" href="{source}"></image>')
    if isinstance(shape, Dots):
        path = "".join(f"M{_pair(point)}h0" for point in shape.points)
        return Markup(f'<path class="p-{shape.style}" d="{path}"></path>')
    if isinstance(shape, Words):
        u, v = shape.at
        anchor = "end" if shape.right else None
        return el(
            "text", text(shape.text, 80), x=_number(u), y=_number(v), text_anchor=anchor, class_=f"p-{shape.style}"
        )
    return join([_drawn(shape, f"p-{shape.style} p-halo") if STYLES[shape.style].halo else None,
                 _drawn(shape, f"p-{shape.style}")])  # fmt: skip


def _drawn(shape: Line | Circle, class_: str) -> Markup:
    if isinstance(shape, Circle):
        u, v = shape.centre
        return el("circle", cx=_number(u), cy=_number(v), r=_number(shape.radius), class_=class_)
    points = " ".join(map(_pair, shape.points))
    return el("polygon" if shape.closed else "polyline", points=points, class_=class_)


def _pair(point: Point) -> str:
    return f"{_number(point[0])},{_number(point[1])}"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def rules(style: str, dark: bool = False) -> str:
    """The rule of a style sheet for one style: its colours in one colouring, and all the rest of it."""
    known: Style = STYLES[style]
    said = [f"fill: {COLOURS[known.fill][dark] if known.fill else 'none'}"]
    if known.stroke:
        said += [f"stroke: {COLOURS[known.stroke][dark]}", f"stroke-width: {known.width:g}"]
    return f".p-{style} {{ {'; '.join(said)}; }}"


def style_sheet() -> str:
    """The style sheet of a picture that is a file of its own."""
    light = "\n".join(rules(style) for style in STYLES)
    dark = "\n".join(rules(style, dark=True) for style in STYLES)
    dashed = ", ".join(f".p-{name}" for name, style in STYLES.items() if style.dashed)
    halo = f".p-halo {{ stroke: {COLOURS['dark'][0]}; stroke-width: {_HALO:g}; stroke-dasharray: none; }}"
    return f"""text {{ font: 13px system-ui, sans-serif; fill: {COLOURS["quiet"][0]}; }}
.name {{ font-size: 17px; font-weight: 600; fill: {COLOURS["ink"][0]}; }}
.off {{ fill: {COLOURS["wrong"][0]}; }}
{light}
.p-points {{ stroke-linecap: round; }}
{dashed} {{ stroke-dasharray: 5 3; }}
{halo}
@media (prefers-color-scheme: dark) {{
text {{ fill: {COLOURS["quiet"][1]}; }}
.name {{ fill: {COLOURS["ink"][1]}; }}
.off {{ fill: {COLOURS["wrong"][1]}; }}
{dark}
{halo}
}}
"""


def row_svg(rows: Sequence[Row]) -> str:
    """Rows of panels one below the other, as an SVG file in itself."""
    down, parts, widest = 0.0, [], 0.0
    for row in rows:
        width, height, body = _row(row, down)
        parts.append(body)
        widest, down = max(widest, width), down + height
    size = {"width": _number(widest), "height": _number(down), "viewBox": f"0 0 {_number(widest)} {_number(down)}"}
    back = el("rect", width="100%", height="100%", class_="p-back")
    whole = el("svg", el("style", Markup(style_sheet())), back, *parts, xmlns=_NAMESPACE, **size)
    return f"{whole}\n"


def _row(row: Row, down: float) -> tuple[float, float, Markup]:
    across, highest, parts = float(_GAP), max(panel.height for panel in row.panels), []
    for panel in row.panels:
        parts.append(el("text", text(panel.title, 80), x=_number(across), y=_number(down + _HEAD - 6)))
        parts.append(panel_svg(panel, (across, down + _HEAD)))
        across += panel.width + _GAP
    said = el("tspan", f" {row.told[:_TITLE]}", class_="off" if row.off else None, dx=10)
    parts.append(el("text", el("tspan", text(row.name, 120), class_="name"), said, x=_GAP, y=_number(down + 22)))
    foot = down + _HEAD + highest + 8
    places = flowing([len(key.words) * _CHARACTER for key in row.legend], across)
    for key, (u, v) in zip(row.legend, places, strict=True):
        parts.append(key_svg(key, (u, foot + v)))
        parts.append(el("text", text(key.words, 80), x=_number(u + KEY[0] + 6), y=_number(foot + v + 12)))
    legend = max((v for _, v in places), default=-KEY_LINE) + KEY_LINE
    return across, _HEAD + highest + legend + _GAP, join(parts)
