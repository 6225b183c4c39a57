"""The picture of an image augmentation: before and after at the worst seed (avreview.augment.picture)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from avreview.augment.child.image_labels import Keypoint
from avreview.augment.child.image_truth import Truth, outline
from avreview.augment.child.pictures import image_panel
from avreview.augment.model import Sample

if TYPE_CHECKING:
    from avreview.augment.child.image_kind import Seen

ORDER = ("iou_2d", "mask", "keypoint", "visible")  # what a picture is rather of, where several are as bad
CORNERS = 40  # of an outline, at most


def picture_of(every: Sequence[Seen], samples: Mapping[str, Sequence[Sample]]) -> dict[str, Any] | None:
    """The picture at the worst sample of what was measured."""
    worst, measure = _worst(samples)
    if worst is None:
        return None
    seen = next(one for one in every if one.seed == worst.seed)
    return {"seed": seen.seed, "measure": measure, "panels": [_before(seen.truth), _after(seen)]}


def _worst(samples: Mapping[str, Sequence[Sample]]) -> tuple[Sample | None, str]:
    badness = {
        "iou_2d": lambda v: 1 - v,
        "mask": lambda v: 1 - v,
        "keypoint": lambda v: v / 15,
        "visible": lambda v: 0.3 * (v < 0.1),
    }
    found = [
        (float(badness[measure](sample.value)), -place, -number, sample, measure)
        for place, measure in enumerate(ORDER)
        for number, sample in enumerate(samples.get(measure, ()))
    ]
    if not found:
        return None, ""
    best = max(found, key=lambda entry: entry[:3])
    return best[3], best[4]


def _before(truth: Truth) -> dict[str, Any]:
    scene = truth.scene
    hulls = [hull(outline(mask > 0)) for mask in scene["masks"]]
    return _panel("before", scene["images"][0], scene.get("boxes2d"), hulls)


def _after(seen: Seen) -> dict[str, Any]:
    truth, image = seen.truth, np.asarray(seen.out["images"][0])
    things = [thing for thing in range(len(truth.scene["masks"])) if truth.seen(thing).any()]
    if truth.warp is not None:
        hulls = [truth.place(hull(outline(truth.scene["masks"][thing] > 0))) for thing in things]
    else:
        hulls = [hull(outline(truth.seen(thing))) for thing in things]
    boxes = np.asarray([box.raw for box in seen.boxes]).reshape(-1, 4)
    return _panel("after", image, boxes, [one for one in hulls if np.isfinite(one).all()], seen.keypoints)


def _panel(
    name: str, image: np.ndarray, boxes: Any, hulls: Sequence[np.ndarray], points: Sequence[Keypoint] = ()
) -> dict[str, Any]:
    """An image panel with outlines; only keypoints have labels and markers."""
    given = np.asarray([point.given for point in points]).reshape(-1, 2)
    expected = np.asarray([point.expected for point in points]).reshape(-1, 2)
    panel = image_panel(name, image, given, expected, boxes)
    scale = panel["width"] / image.shape[1]
    outlines = [[[round(float(value) * scale, 1) for value in place] for place in one] for one in hulls]
    return {**panel, "hulls": outlines}


def hull(places: np.ndarray) -> np.ndarray:
    """The convex hull of float[P, 2], counter-clockwise, by Andrew's monotone chain."""
    points = sorted({(float(u), float(v)) for u, v in places})
    if len(points) < 3:
        return np.asarray(points, dtype=np.float64).reshape(-1, 2)
    halves = []
    for order in (points, points[::-1]):
        chain: list[tuple[float, float]] = []
        for point in order:
            while len(chain) > 1 and _clockwise(chain[-2], chain[-1], point):
                chain.pop()
            chain.append(point)
        halves.append(chain[:-1])
    found = np.asarray(halves[0] + halves[1])
    return found[:: max(len(found) // CORNERS, 1)]


def _clockwise(one: tuple[float, float], middle: tuple[float, float], other: tuple[float, float]) -> bool:
    return (middle[0] - one[0]) * (other[1] - one[1]) <= (middle[1] - one[1]) * (other[0] - one[0])
