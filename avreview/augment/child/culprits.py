"""Which of boxes, points, images and matrices is the odd one out: three legs between them, and which two are off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from avreview.augment.child.legs import Legs, scene_motion
from avreview.augment.child.observed import Observed
from avreview.augment.child.sighted import Sighted
from avreview.augment.model import Sample

# Beyond these a leg counts as off, when it comes to naming who is to blame; what is a fault stands on the cards.
_OFF = {"centre": 0.06, "dims": 0.02, "yaw": 2.0}
_PIXELS = 1.5


def culprit(seen: Observed, sighted: Sighted, legs: Legs, samples: dict[str, list[Sample]], seed: int) -> str | None:
    """The odd one out under one seed; None where nothing is off, or nobody can be told from the others."""
    boxes_points = _boxes_points(samples, seed)
    points_images = None if legs.points_images is None else legs.points_images > _PIXELS
    boxes_images = None if legs.boxes_images is None else legs.boxes_images > _PIXELS
    if points_images is None or boxes_images is None:
        return _without_images(seen, boxes_points, points_images or boxes_images)
    if boxes_points:
        if points_images != boxes_images:
            return "points" if points_images else "boxes"
        return _farther(legs) or _without_images(seen, boxes_points, None)
    if points_images:
        return _of_matrices(seen, sighted)
    return None


def _farther(legs: Legs) -> str | None:
    """Which of boxes and points is much farther from the images than the other."""
    points, boxes = legs.points_images or 0.0, legs.boxes_images or 0.0
    if max(points, boxes) < 0.5 or max(points, boxes) < 3 * min(points, boxes):
        return None
    return "points" if points > boxes else "boxes"


def _boxes_points(samples: dict[str, list[Sample]], seed: int) -> bool:
    for name, limit in _OFF.items():
        values = [sample.value for sample in samples.get(name, ()) if sample.seed == seed]
        if values and not float(np.median(values)) <= limit:
            return True
    return False


def _without_images(seen: Observed, boxes_points: bool, images_off: bool | None) -> str | None:
    """Points that stayed while all boxes moved together are the ones that were left; else nobody is told."""
    if boxes_points and seen.scene is not None and seen.scene.is_identity and seen.boxes is not None:
        known = seen.things >= 0
        before, after = seen.world.boxes[seen.things[known]], seen.boxes[known]
        moved = np.abs(after[:, :3] - before[:, :3]).max(axis=1) if known.any() else np.zeros(0)
        return "points" if len(moved) and float(np.median(moved)) > _OFF["centre"] else "boxes"
    return "matrices" if images_off and not boxes_points else None


def _of_matrices(seen: Observed, sighted: Sighted) -> str:
    """Images that stayed while only their matrices changed were left; else the matrices are not what was done."""
    return "images" if sighted.untouched and scene_motion(seen).is_identity else "matrices"


def most_often(names: Sequence[str | None]) -> str | None:
    found = Counter(name for name in names if name is not None)
    return found.most_common(1)[0][0] if found else None
