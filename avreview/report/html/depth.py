"""The depth plot: the variance of each weight layer's output on its way through the model, against the band.

Positions along the way are percentages, so that the plot takes whatever width there is while its text keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avreview.engine.review import Review
from avreview.report.html.markup import Markup, el, join, text
from avreview.report.html.parts import anchor, data_table, fold, heading, section
from avreview.report.html.room import Room, left_out
from avreview.report.values import count, number, show

SIGNAL, GRADIENTS = "signal", "gradients"
_HEIGHT = 280  # pixels of the plot
_MARGIN = 14  # pixels above and below, for marks at the edge
_LAYERS = 400
_TICKS = 6
_WEDGES = 8
_EDGE = 8  # pixels from the edge at which what has no logarithm stands
_NAMING = ("module", "node", "layer", "before", "left_out")


class _Point(NamedTuple):
    """A layer on the plot; `level` is the decimal logarithm of its variance, and `ratio` that to the layer before."""

    place: int
    before: int | None
    name: str
    variance: float
    ratio: float | None

    @property
    def level(self) -> float:
        if self.variance <= 0:
            return -math.inf
        return math.inf if math.isinf(self.variance) else math.log10(self.variance)


class _Scale(NamedTuple):
    """Where a layer and a level stand: percent from the left, pixels from the top."""

    layers: int
    low: float
    high: float

    def across(self, place: int) -> float:
        return 100 * (place + 0.5) / max(self.layers, 1)

    def down(self, level: float) -> float:
        """Within the plot, or `_HEIGHT` beyond it for a band that leaves it: that is cut off at the edge."""
        share = (self.high - level) / (self.high - self.low)
        return _MARGIN + (_HEIGHT - 2 * _MARGIN) * max(min(share, 9.0), -9.0)


def depth_section(review: Review, prefix: str, level: int, room: Room) -> Markup | None:
    """The plot of the signal, that of the gradients where they were measured, and what they are drawn from."""
    forwards, back = (_measured(review, name) for name in (SIGNAL, GRADIENTS))
    parts = [_forwards(forwards, level + 1, room)] if forwards else []
    along = [row for row in forwards.get("layers", ()) if _real(row.get("gradient")) is not None]
    if along or back:
        rows = forwards["layers"][:_LAYERS] if along else back["layers"][:_LAYERS]
        points = _points(rows, "gradient") if along else _in_a_row(_points(rows, "variance"))
        lead = "The variance of the gradient at each weight layer, on its way back from the outputs."
        parts += [heading(level + 1, "Gradients, backwards"), el("p", lead, class_="lead")]
        parts.append(_figure(points, {}, len(rows), "gradient"))
    if back:
        parts.append(_table("gradient", back["layers"], room))
    return section(level, anchor(prefix, "depth"), "Signal through depth", *parts) if parts else None


def _measured(review: Review, name: str) -> Mapping[str, Any]:
    given = review.evidence.get(name)
    return given if isinstance(given, Mapping) and given.get("layers") else {}


def _forwards(given: Mapping[str, Any], level: int, room: Room) -> Markup:
    rows, paths, flat = given["layers"], given.get("paths", ()), given.get("activations", ())
    told = f"The variance of the signal across {given.get('inputs', 'samples')} at each weight layer, the median over "
    return join([
        heading(level, "Activations, forwards"),
        el("p", f"{told}its units.", class_="lead"),
        _figure(_points(rows[:_LAYERS], "variance"), given, len(rows[:_LAYERS]), "signal"),
        left_out(len(rows) - _LAYERS, "layer in the picture", "layers in the picture"),
        _table("signal", rows, room),
        data_table("Paths through the weight layers", [_path(path) for path in paths], room) if paths else None,
        data_table("Activations that can saturate", flat, room) if flat else None,
    ])  # fmt: skip


def _table(what: str, rows: Sequence[Mapping[str, Any]], room: Room) -> Markup:
    lines = [_row(place, row) for place, row in enumerate(rows, 1)]
    return fold(f"Table: {count(len(rows), 'layer')}", data_table(f"Variance of the {what} by layer", lines, room))


def _points(rows: Sequence[Mapping[str, Any]], key: str) -> list[_Point]:
    """The layers for which there is a figure; steps are judged where the figure is the signal's variance."""
    points = []
    for place, row in enumerate(rows):
        variance, ratio, before = (_real(row.get(name)) for name in (key, "ratio", "before"))
        if variance is not None and not math.isnan(variance):
            name = str(row.get("module") or row.get("node") or row.get("layer") or "")
            step = ratio if key == "variance" else None
            points.append(_Point(place, None if before is None else int(before), name, variance, step))
    return points


def _in_a_row(points: Sequence[_Point]) -> list[_Point]:
    """Layers that stand in one order, each behind the one before."""
    joined = [point._replace(before=points[place].place, ratio=None) for place, point in enumerate(points[1:])]
    return [point._replace(ratio=None) for point in points[:1]] + joined


def _real(value: Any) -> float | None:
    if value in ("inf", "-inf"):  # as the report's plain forms have them
        return float(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _row(place: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """A layer's line of the table: its number in the plot first, the layer before by that number."""
    rest = {key: value for key, value in row.items() if key not in _NAMING}
    line = {"place": place, "layer": row.get("module") or row.get("node") or row.get("layer"), **rest}
    before = _real(row.get("before"))
    if before is not None:
        line["behind place"] = int(before) + 1
    if row.get("left_out"):
        line["not measured because it"] = row["left_out"]
    return line


def _path(path: Mapping[str, Any]) -> dict[str, Any]:
    layers = list(path.get("layers", ()))
    ends = f"{layers[0] + 1} to {layers[-1] + 1}" if layers else ""
    return {
        "from layer to layer": ends,
        "layers": len(layers),
        "median ratio of neighbours": path.get("ratio"),
        "trend a layer": path.get("trend"),
        "quartiles": " to ".join(show(figure) for figure in path.get("quartiles", ())),
        "judged": "yes" if path.get("judged") else "no: too short",
    }


def _figure(points: Sequence[_Point], given: Mapping[str, Any], layers: int, what: str) -> Markup:
    if not points:
        return el("p", "No variance could be measured.")
    scale = _scale(points, layers)
    band = given.get("band") or {}
    low, high = _real(band.get("min")), _real(band.get("max"))
    bounds = (low, high) if low and high else None
    wedges = _wedges(given.get("paths", ()), points, bounds, scale) if bounds else []
    picture = el(
        "svg",
        el("title", _says(points, what)), *_grid(scale), *wedges, *_lines(points, scale),
        *(_mark(point, bounds, scale) for point in points),
        role="img", width="100%", height=_HEIGHT, class_="plot", focusable="false",
    )  # fmt: skip
    axis = el("svg", *_labels(scale), width="100%", height=_HEIGHT, class_="axis", aria_hidden="true")
    foot = el("p", el("span", "layer 1"), el("span", f"layer {layers}"), class_="ends-of-axis", aria_hidden="true")
    return el("figure", axis, picture, foot, el("figcaption", _legend(points, bounds, bool(wedges))), class_="depth")


def _says(points: Sequence[_Point], what: str) -> str:
    first, last = points[0], points[-1]
    return (
        f"Variance of the {what} at {count(len(points), 'layer')}, on a logarithmic scale: from "
        f"{number(first.variance)} at the first to {number(last.variance)} at the last. The table has all values."
    )


def _legend(points: Sequence[_Point], bounds: tuple[float, float] | None, drawn: bool) -> Markup:
    """What the marks mean; each differs in form and not in colour alone."""
    entries = [("circle", "variance of a layer")]
    if bounds:
        entries = [("circle", "step within the band"), ("diamond", "step out of the band")]
    marks = [
        el("span", el("svg", _form(form, "50%", 8), width=16, height=16, aria_hidden="true"), f" {says}")
        for form, says in entries
    ]
    if bounds and drawn:
        says = f"where a path may go: a factor of {bounds[0]:g} to {bounds[1]:g} a layer, in the median over the path"
        swatch = el("svg", el("rect", width="100%", height="100%", class_="band"), width=16, height=12,
                    aria_hidden="true")  # fmt: skip
        marks.append(el("span", swatch, f" {says}"))
    marks.append(el("span", "Scale: decimal logarithm"))
    if not all(math.isfinite(point.level) for point in points):
        marks.append(el("span", "A variance of 0 stands at the lower edge, an infinite one at the upper"))
    return join(marks)


def _scale(points: Sequence[_Point], layers: int) -> _Scale:
    levels = [point.level for point in points if math.isfinite(point.level)] or [0.0]
    low, high = math.floor(min(levels)), math.ceil(max(levels))
    while high - low < 3:
        low, high = (low - 1, high) if (high - low) % 2 else (low, high + 1)
    return _Scale(layers, low, high)


def _ticks(scale: _Scale) -> range:
    step = max(-(-int(scale.high - scale.low) // _TICKS), 1)
    return range(int(scale.low), int(scale.high) + 1, step)


def _grid(scale: _Scale) -> list[Markup]:
    return [
        el("line", x1="0", x2="100%", y1=_pixel(scale.down(level)), y2=_pixel(scale.down(level)), class_="grid")
        for level in _ticks(scale)
    ]


def _labels(scale: _Scale) -> list[Markup]:
    return [
        el("text", "1" if level == 0 else "10" if level == 1 else f"1e{level}",
           x="100%", dx=-8, y=_pixel(scale.down(level) + 4), text_anchor="end")
        for level in _ticks(scale)
    ]  # fmt: skip


def _wedges(
    paths: Sequence[Mapping[str, Any]], points: Sequence[_Point], bounds: tuple[float, float], scale: _Scale
) -> list[Markup]:
    """The band of each path that is judged, or else of the longest."""
    walked = sorted((list(path.get("layers", ())) for path in paths if path.get("judged")), key=len, reverse=True)
    if not walked:
        walked = [max((list(path.get("layers", ())) for path in paths), key=len, default=[])]
    drawn = (_wedge(path, points, bounds, scale) for path in walked[:_WEDGES])
    return [wedge for wedge in drawn if wedge is not None]


def _wedge(path: Sequence[int], points: Sequence[_Point], bounds: tuple[float, float], scale: _Scale) -> Markup | None:
    """Where the signal may go along the path, from the variance of its first layer on."""
    known = {point.place: point for point in points}
    walked = [place for place in path if place in known]
    if len(walked) < 2 or not math.isfinite(known[walked[0]].level):
        return None
    start = known[walked[0]].level
    low, high = (math.log10(bound) for bound in bounds)
    upper = [(scale.across(place), scale.down(start + step * high)) for step, place in enumerate(walked)]
    lower = [(scale.across(place), scale.down(start + step * low)) for step, place in enumerate(walked)]
    corners = " ".join(f"{across:.2f},{down:.1f}" for across, down in [*upper, *reversed(lower)])
    return el(
        "svg", el("polygon", points=corners, class_="band"), width="100%", height=_HEIGHT,
        viewBox=f"0 0 100 {_HEIGHT}", preserveAspectRatio="none", aria_hidden="true",
    )  # fmt: skip


def _lines(points: Sequence[_Point], scale: _Scale) -> list[Markup]:
    known = {point.place: point for point in points}
    return [
        el("line", x1=f"{scale.across(before.place):.2f}%", y1=_pixel(_down(before, scale)),
           x2=f"{scale.across(point.place):.2f}%", y2=_pixel(_down(point, scale)), class_="step")
        for point in points
        if point.before is not None and (before := known.get(point.before)) is not None
    ]  # fmt: skip


def _mark(point: _Point, bounds: tuple[float, float] | None, scale: _Scale) -> Markup:
    out = bounds is not None and point.ratio is not None and not bounds[0] <= point.ratio <= bounds[1]
    says = f"layer {point.place + 1}, {point.name[:300]}: variance {number(point.variance)}"
    if point.ratio is not None:
        says += f", {number(point.ratio)} of the layer before"
    form = _form("diamond" if out else "circle", f"{scale.across(point.place):.2f}%", round(_down(point, scale), 1))
    return el("g", el("title", text(says, 400)), form)


def _form(form: str, across: str, down: float) -> Markup:
    if form == "circle":
        return el("circle", cx=across, cy=str(down), r=4, class_="within")
    # A nested picture stands where a percentage says, and the path within it counts in pixels.
    shape = el("path", d="M0 -6.5 L6.5 0 L0 6.5 L-6.5 0 Z", class_="outside")
    return el("svg", shape, x=across, y=str(down), overflow="visible")


def _down(point: _Point, scale: _Scale) -> float:
    """A variance of 0 stands at the lower edge, an infinite one at the upper."""
    if math.isfinite(point.level):
        return scale.down(point.level)
    return _HEIGHT - _EDGE if point.level < 0 else _EDGE


def _pixel(value: float) -> str:
    return f"{value:.1f}"
