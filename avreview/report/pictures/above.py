"""A scene from above: x, forward, is up, and y, left, is left. One scale for the panels of an augmentation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from avreview.report.pictures.reading import Seen
from avreview.report.pictures.shapes import Dots, Line, Panel, Point, Shape, Words
from avreview.report.values import count

SIDE = 360.0  # pixels of a panel
_LEAST, _MOST = 10.0, 2000.0  # m from the middle to the border
_STEPS = (5, 10, 20, 50, 100, 200, 500, 1000)  # m between grid lines
_LINES = 3  # grid lines on each side, at most
_SLOW = 0.3  # m/s, under which an arrow is a point
_APART = 0.1  # m/s, from which the tips of two arrows are joined
_NEAR = 1.0  # m between the beginnings of two arrows that belong together
_HEAD = 7.0  # pixels of an arrow's head


class View(NamedTuple):
    """How far the picture reaches from the vehicle in its middle, in m."""

    reach: float

    def at(self, x: float, y: float) -> Point:
        scale = SIDE / 2 / self.reach
        return (SIDE / 2 - y * scale, SIDE / 2 - x * scale)


def view_of(panels: Sequence[Seen]) -> View:
    """A view that holds the boxes as they were before, with room to be turned; without any, nearly all points.

    What flew off is told in words: it would make all else too small to see.
    """
    before = [box for panel in panels if panel.name == "before" for box in panel.boxes if not math.isnan(box[0])]
    far = [math.hypot(x, y) + length / 2 for x, y, length, _, _ in before]
    if not far:
        spread = sorted(max(abs(x), abs(y)) for panel in panels for x, y in panel.points if not math.isnan(x))
        far = spread[int(0.98 * len(spread)) :][:1]
    return View(min(max([1.05 * value for value in far] + [_LEAST]), _MOST))


def panel_of(seen: Seen, view: View, title: str) -> Panel:
    shapes: list[Shape] = [*_grid(view), *_ego()]
    shapes.append(Dots([view.at(x, y) for x, y in seen.points if max(abs(x), abs(y)) <= view.reach], "points"))
    for arrow in seen.shown:
        shapes += _arrow(arrow, view, "shown")
    for box in seen.boxes:
        shapes += _box(box, view)
    shapes += [shape for pair in pairs(seen) for shape in _apart(*pair, view)]
    for arrow in seen.labels:
        shapes += _arrow(arrow, view, "label")
    return Panel(title, f"{title}: {_told(seen, view)}", SIDE, SIDE, shapes)


def _told(seen: Seen, view: View) -> str:
    """What is to be seen, in words, for those who do not see it."""
    told = f"{count(len(seen.boxes), 'box', 'boxes')} and {count(len(seen.points), 'point')}, seen from above"
    outside = sum(max(abs(box[0]), abs(box[1])) > view.reach for box in seen.boxes)
    if outside:
        told += f"; {count(outside, 'box', 'boxes')} outside the picture"
    both = pairs(seen)
    if both:
        worst = max(_difference(*pair) for pair in both)
        told += f"; velocity labels and the velocities shown differ by up to {worst:.3g} m/s"
    return told


def pairs(seen: Seen) -> list[tuple[Sequence[float], Sequence[float]]]:
    """Each velocity shown with the label that begins at the same place; either may lack its fellow."""
    found = []
    for shown in seen.shown:
        near = [(math.dist(label[:2], shown[:2]), label) for label in seen.labels]
        nearest = min((entry for entry in near if entry[0] <= _NEAR), default=None, key=lambda entry: entry[0])
        if nearest is not None:
            found.append((nearest[1], shown))
    return found


def _difference(label: Sequence[float], shown: Sequence[float]) -> float:
    value = math.hypot(label[2] - shown[2], label[3] - shown[3])
    return 0.0 if math.isnan(value) else value


def _grid(view: View) -> Iterator[Shape]:
    step = next((step for step in _STEPS if view.reach / step <= _LINES), _STEPS[-1])
    for line in range(1, int(view.reach / step) + 1):
        for distance in (line * step, -line * step):
            yield Line([view.at(distance, -view.reach), view.at(distance, view.reach)], "grid")
            yield Line([view.at(-view.reach, distance), view.at(view.reach, distance)], "grid")
    across, down = view.at(step, view.reach)
    yield Words((across + 5, down - 4), f"{step} m ahead", "scale")


def _ego() -> Iterator[Shape]:
    """The vehicle: an arrowhead in the middle that points ahead."""
    middle = SIDE / 2
    corners = [(middle, middle - 8), (middle + 5, middle + 6), (middle, middle + 3), (middle - 5, middle + 6)]
    yield Line(corners, "ego", closed=True)


def _box(box: Sequence[float], view: View) -> Iterator[Shape]:
    """The outline, and a line from the centre to the front."""
    x, y, length, width, yaw = box
    if math.isnan(x):
        return
    ahead, aside = (math.cos(yaw), math.sin(yaw)), (-math.sin(yaw), math.cos(yaw))

    def corner(along: float, across: float) -> Point:
        return view.at(x + along * ahead[0] + across * aside[0], y + along * ahead[1] + across * aside[1])

    half, side = length / 2, width / 2
    yield Line([corner(half, side), corner(half, -side), corner(-half, -side), corner(-half, side)], "box", closed=True)
    yield Line([corner(0, 0), corner(half, 0)], "box")


def _arrow(row: Sequence[float], view: View, style: str) -> Iterator[Shape]:
    """The way of one second."""
    x, y, vx, vy = row
    speed = math.hypot(vx, vy)
    if not speed >= _SLOW:
        return
    yield from arrow_between(view.at(x, y), view.at(x + vx, y + vy), style)


def arrow_between(start: Point, end: Point, style: str) -> list[Shape]:
    """An arrow of the style `label` or `shown`."""
    head = _HEAD if style == "label" else 1.7 * _HEAD
    length = math.dist(start, end) or 1.0
    ahead = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
    back = (end[0] - head * ahead[0], end[1] - head * ahead[1])
    wing = (-ahead[1] * head / 2, ahead[0] * head / 2)
    tip = [end, (back[0] + wing[0], back[1] + wing[1]), (back[0] - wing[0], back[1] - wing[1])]
    return [Line([start, back], style), Line(tip, f"tip-{style}", closed=True)]


def _apart(label: Sequence[float], shown: Sequence[float], view: View) -> Iterator[Shape]:
    """A line between the tips of two arrows that should be one."""
    if _difference(label, shown) > _APART:
        tips = [view.at(x + vx, y + vy) for x, y, vx, vy in (label, shown)]
        yield Line(tips, "apart")
